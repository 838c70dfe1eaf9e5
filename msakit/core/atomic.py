"""Files that are there whole or not at all, whoever is killed while writing them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msakit.core.errors import InputError, MsakitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "Free some space and run the command again; what was there before is unchanged.",
    errno.EDQUOT: "Your quota is used up: free some space and run the command again.",
    errno.EROFS: "The file system is read-only; choose another place.",
    errno.EACCES: "Check the permissions of the folder, or choose another place.",
    errno.EPERM: "Check the permissions of the folder, or choose another place.",
}
_TROUBLE_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the path, flush to disk, then take its place: readers see the old file or the new.

    Each writer has a temporary file of its own, so that two of them never mix. It is held locked while
    it is written; one that nobody holds was left by a kill, and the next writer of the path removes it.

    Args:
        path: What is written; its mode is what the umask says.
        write: Writes the content to the path it is given.

    Raises:
        InputError: The path names no file.
        MsakitError: The system refuses; no temporary file is left.
    """
    if not path.name:
        raise InputError(f"'{path}' names no file.", hint="Give the path of the file to write.")
    with writing_errors(path):
        remove_abandoned(path)
        descriptor, temporary = _create_temporary(path)
        try:
            mode = os.fstat(descriptor).st_mode & 0o777
            write(temporary)
            sync(temporary)
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Write text as UTF-8, its line ends as they are, like `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def remove_abandoned(path: Path) -> None:
    """Remove what killed writers of a path left beside it."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):  # gone already, or its writer is alive
            descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                temporary.unlink()
            finally:
                os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Within it, what the system refuses is said with the path and the remedy.

    Raises:
        MsakitError: In place of any OSError; an InputError where the path is what is wrong.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        kind = MsakitError if error.errno in _TROUBLE_OF_THE_MACHINE else InputError
        raise kind(f"{path} cannot be written: {reason}.", hint=_REMEDIES.get(error.errno or 0)) from error


def _create_temporary(path: Path) -> tuple[int, Path]:
    while True:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: nobody can clean up either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # taken for an abandoned one before it was locked
