"""Leases: who fills a feature set holds one, and garbage collection keeps away (docs/format.md, "Leases").

A holder has a shared flock on the feature set's folder, and a document in `leases/` that says who it is: the
lock ends with the process, the document also speaks to other machines and where there are no locks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.files import list_folder, translated_errors
from msakit.feature_store.disk.layout import FeatureSetFolder, parse_document
from msakit.feature_store.disk.owner import owner_fields, owner_is_local, owner_lives
from msakit.feature_store.errors import StoreError, StoreWriteError
from msakit.feature_store.featureset import FeatureSet

ATTEMPTS = 1000
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL)


class Lease:
    """Keeps a feature set from being collected as garbage, until it is released or its process dies."""

    def __init__(self, folder: FeatureSetFolder, feature_set: FeatureSet) -> None:
        """Create the feature set where it is new, and take the lease.

        Raises:
            StoreWriteError: when the system refuses.
        """
        with translated_errors(folder.path):
            self._fd = self._lock(folder, feature_set)
            self._document = folder.leases / f"{uuid.uuid4().hex}.json"
            try:
                folder.leases.mkdir(exist_ok=True)
                self._document.write_bytes(canonical_json(owner_fields()))
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Give the lease up; again is harmless."""
        with contextlib.suppress(OSError):
            self._document.unlink(missing_ok=True)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def _lock(folder: FeatureSetFolder, feature_set: FeatureSet) -> int:
        for _ in range(ATTEMPTS):  # it may be collected as garbage between any two of these lines
            try:
                folder.create(feature_set)
                fd = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except (FileNotFoundError, StoreWriteError) as error:
                if isinstance(error.__cause__ or error, FileNotFoundError):
                    continue
                raise
            _flock(fd, fcntl.LOCK_SH)
            if _still_named(fd, folder.path):
                return fd
            os.close(fd)
        raise StoreWriteError(f"cannot write {folder.path}: it is removed again and again", "Look who does.")


@contextlib.contextmanager
def unleased(folder: FeatureSetFolder) -> Iterator[list[str]]:
    """Keep new leases out and yield who holds one: nobody may remove the folder while the list is not empty.

    Raises:
        OSError: as the system says.
    """
    fd = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            _flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield ["a writer of this machine"]
            return
        yield _holders(folder)
    finally:
        os.close(fd)


def _holders(folder: FeatureSetFolder) -> list[str]:
    """The current leases; those of dead processes on this machine are removed."""
    holders = []
    for path in list_folder(folder.leases):
        owner = _owner(path)
        if owner_is_local(owner) and not owner_lives(owner):
            path.unlink(missing_ok=True)
        elif owner_is_local(owner):
            holders.append(f"process {owner.get('pid')}")
        else:
            host = owner.get("host", "an unknown machine")
            holders.append(f"a process of {host} (if it is dead, delete {path})")
    return holders


def _owner(path: Path) -> dict[str, Any]:
    try:
        return parse_document(path)
    except StoreError:
        return {}


def _flock(fd: int, operation: int) -> None:
    try:
        fcntl.flock(fd, operation)
    except OSError as error:
        if error.errno not in NO_LOCKS:  # where folders cannot be locked, the documents alone count
            raise


def _still_named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
