"""One training a run directory at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msakit.core.atomic import writing_errors
from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_FILE = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class RunBusyError(InputError):
    """Another process trains in this folder."""


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, which is made when absent; the system lets go when the process dies.

    Where the file system has no locks, nothing is held.

    Args:
        folder: A run directory, or the folder of a search.
        wait: Wait until another process lets go of it.

    Raises:
        RunBusyError: Another process holds it; says which.
        MsakitError: The folder cannot be made.
    """
    path = folder / LOCK_FILE
    with writing_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _acquire(descriptor, folder, wait=wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise RunBusyError(
            f"{folder} is being trained by {holder}.",
            hint="Wait until it has ended, or stop it; then the same command goes on from where it was.",
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
