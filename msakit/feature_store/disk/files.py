"""The few file-system operations whose order keeps a store whole after a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from msakit.feature_store.errors import StoreError, StoreFormatError, StoreWriteError
from msakit.feature_store.regular import SHORTAGES, reading

Buffer = bytes | memoryview
Extent = tuple[int, int]
"""Start and stop of bytes that were written; a file system keeps no bytes for what lies between extents."""
IOV_MAX = 1024
CHECK_DISK = "Check the disk; everything acknowledged is kept in the journal."
REMEDIES = SHORTAGES | {
    errno.ENOSPC: "Free some space and run again; everything acknowledged is kept.",
    errno.EDQUOT: "Your quota is used up; free some space and run again.",
    errno.EROFS: "The file system is read-only; open the store for reading or copy it.",
    errno.EACCES: "Check the permissions of the folder.",
}
TEMPORARY = re.compile(r"[0-9a-f]{32}\.(?P<host>[^.]+)\.(?P<pid>\d{1,9})\..+")


def list_folder(path: Path) -> list[Path]:
    """Members of a folder by name; none when it does not exist.

    Raises:
        StoreError: when it cannot be read.
    """
    with reading(path):
        try:
            return sorted(path.iterdir())
        except FileNotFoundError:
            return []


def data_extents(fd: int) -> list[Extent]:
    """Find the parts of a file that hold bytes: a file of a few kilobytes may claim to be of any size."""
    extents: list[Extent] = []
    stop, size = 0, os.fstat(fd).st_size
    while stop < size:
        try:
            start = os.lseek(fd, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return extents
            if error.errno == errno.EINVAL:  # this file system does not know its holes
                return [(0, size)]
            raise
        stop = os.lseek(fd, start, os.SEEK_HOLE)
        extents.append((start, stop))
    return extents


def fsync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(tmp: Path, final: Path) -> bool:
    """Give a finished, synced file its final name; return False when the name was taken already.

    A hard link never replaces an existing name, so the first one wins. Where links are not supported
    (some network file systems) a rename is used, after checking that the name is free.
    """
    final.parent.mkdir(exist_ok=True)  # git keeps no empty folders
    try:
        os.link(tmp, final)
    except FileExistsError:
        tmp.unlink()
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        if final.exists():
            tmp.unlink()
            return False
        tmp.rename(final)
    else:
        tmp.unlink()
    fsync_directory(final.parent)
    return True


def write_whole(tmp_dir: Path, final: Path, content: bytes) -> bool:
    """Write a small immutable file: tmp, fsync, link; return False when it existed already.

    Raises:
        StoreWriteError: when the system refuses.
    """
    tmp = temporary_name(tmp_dir, final.suffix)
    with translated_errors(final):
        try:
            fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                write_all(fd, [content], 0)
                os.fsync(fd)
            finally:
                os.close(fd)
            return publish(tmp, final)
        except OSError:
            tmp.unlink(missing_ok=True)
            raise


def write_all(fd: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write buffers one after another at `offset`, however many calls that takes; return the end offset."""
    pending = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    first = 0
    while first < len(pending):
        written = os.pwritev(fd, pending[first : first + IOV_MAX], offset)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        offset += written
        while first < len(pending) and written >= len(pending[first]):
            written -= len(pending[first])
            first += 1
        if written:
            pending[first] = pending[first][written:]
    return offset


def read_exactly(fd: int, num_bytes: int, offset: int) -> bytes:
    """Read `num_bytes` at `offset`.

    Raises:
        OSError: as the system says.
        StoreFormatError: when the file ends before.
    """
    chunks: list[bytes] = []
    while num_bytes > 0:
        chunk = os.pread(fd, min(num_bytes, 1 << 30), offset)
        if not chunk:
            raise StoreFormatError("the file ends before its data does", "It was truncated; restore it.")
        chunks.append(chunk)
        num_bytes -= len(chunk)
        offset += len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def temporary_name(directory: Path, suffix: str) -> Path:
    """Return a fresh name that says who owns it, so that a janitor can tell whether the owner lives."""
    directory.mkdir(exist_ok=True)
    return directory / f"{uuid.uuid4().hex}.{host_name()}.{os.getpid()}{suffix}"


@contextlib.contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that becomes `path`, whole, when the block ends without an error.

    What killed processes left there under such names is removed first.

    Raises:
        StoreError: when `path` exists.
        StoreWriteError: when the system refuses.
    """
    taken = StoreError(f"{path} exists", "Choose another name, or remove it first.")
    with translated_errors(path):
        if path.exists():
            raise taken
        remove_dead_temporaries(path.parent, suffix=".tmp")
        tmp = temporary_name(path.parent, ".tmp")
        try:
            yield tmp
            if not publish(tmp, path):
                raise taken
        finally:
            with contextlib.suppress(OSError):
                tmp.unlink(missing_ok=True)


def remove_dead_temporaries(
    directory: Path, older_than_s: float = 0.0, now_s: float = 0.0, *, suffix: str = ""
) -> list[Path]:
    """Remove temporary files and folders of this host whose process is gone and which are old enough."""
    removed = []
    for path in list_folder(directory):
        found = TEMPORARY.fullmatch(path.name)
        if not found or not path.name.endswith(suffix) or found["host"] != host_name():
            continue
        with contextlib.suppress(FileNotFoundError):
            young = older_than_s and now_s - path.lstat().st_mtime < older_than_s
            if young or process_exists(int(found["pid"])):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            removed.append(path)
    return removed


def host_name() -> str:
    """This host's name, safe inside a file name."""
    return socket.gethostname().replace(".", "_").replace("/", "_") or "localhost"


def boot_id() -> str:
    """Identifier of the running kernel's boot, or "" where the platform has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_exists(pid: int) -> bool:
    """Tell whether a process of this host is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def process_start(pid: int) -> str:
    """Start time of a process in kernel ticks, or "" where unknown: a pid may be reused, the pair may not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says while writing `path` into an error that names it and the remedy.

    Raises:
        StoreWriteError: the system refused.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno or 0
        reason = "out of memory" if isinstance(error, MemoryError) else error.strerror or str(error)
        raise StoreWriteError(f"cannot write {path}: {reason}", REMEDIES.get(number, CHECK_DISK)) from error
