"""Opening regular files, and nothing that a name may stand for instead: a pipe would wait for ever."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msakit.feature_store.errors import StoreError, StoreFormatError, StoreReadError

SHORTAGES = {
    errno.EMFILE: "Too many files are open: raise the limit (`ulimit -n 4096`) and run again.",
    errno.ENFILE: "The machine has too many files open; run again when it has fewer.",
    errno.ENOMEM: "The machine is out of memory; run again when there is more.",
    errno.EIO: "The disk failed to read; check it (`dmesg`), and restore the file if it is gone.",
}

NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system says while reading `path` into an error that names it.

    Raises:
        StoreError: there is no such file, or it may not be read.
        StoreReadError: the machine could not read it, which says nothing about its bytes.
    """
    try:
        yield
    except MemoryError as error:
        raise StoreReadError(f"cannot read {path}: out of memory", SHORTAGES[errno.ENOMEM]) from error
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in NOT_THERE:
            hint = "Check the path and its permissions; if the store changed meanwhile, open it again."
            raise StoreError(f"cannot read {path}: {reason}", hint) from error
        hint = SHORTAGES.get(error.errno or 0, "Run again; if it fails again, check the disk.")
        raise StoreReadError(f"cannot read {path}: {reason}", hint) from error


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open an existing regular file and return its descriptor.

    Raises:
        OSError: as the system says.
        StoreFormatError: it is a pipe, a device, a socket or a folder.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise StoreFormatError(f"{path} is not a regular file", "Put the file itself in its place.")


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole regular file of at most `limit` bytes.

    Raises:
        StoreError: it cannot be read, is not a regular file, or is larger.
    """
    with reading(path), open(open_regular(path), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise StoreFormatError(f"{path} is larger than {limit:,} bytes", "Restore the file.")
    return content


def map_file(path: Path, num_bytes: int) -> mmap.mmap:
    """Map a regular file that must have this size: reading behind a file's end kills the process.

    Raises:
        StoreError: it cannot be mapped, or has another size.
    """
    with reading(path):
        fd = open_regular(path)
        try:
            if not num_bytes or os.fstat(fd).st_size != num_bytes:
                raise StoreFormatError(
                    f"{path} changed its size since the store was opened", "Open the store again."
                )
            return mmap.mmap(fd, num_bytes, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
