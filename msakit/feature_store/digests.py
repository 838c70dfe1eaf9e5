"""Remembering content digests of media files, so that resuming does not read every video again."""

from __future__ import annotations

import os
import sqlite3
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from msakit.feature_store.errors import StoreError
from msakit.feature_store.keys import DIGEST_BYTES, digest_file

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, "
    "ctime_ns INTEGER, inode INTEGER, digest BLOB)"
)


class MediaDigests:
    """A local cache of `digest_file`, valid while a file's path, size, times and inode stay the same.

    Safe for many processes. Losing the file costs time and nothing else.

    Args:
        path: the SQLite file; created with its folder.
        rehash: read every file again, whatever is remembered.

    Raises:
        StoreError: when the file cannot be used.
    """

    def __init__(self, path: str | PathLike[str], *, rehash: bool = False) -> None:
        self._rehash = rehash
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
            self._database.execute(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"cannot use {path} to remember digests: {error}", "Delete it or choose another."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._database.close()

    def digest(self, path: str | PathLike[str]) -> bytes:
        """Return the content digest of a media file, from memory if the file has not changed.

        Raises:
            StoreError: when the file cannot be read, or changed while it was.
        """
        real, state = self._look(path)
        # SQLite takes text alone; bytes of a name that are no UTF-8 are written as escapes.
        name = os.fsencode(real).decode("utf-8", "backslashreplace")
        if not self._rehash:
            query = "SELECT size, mtime_ns, ctime_ns, inode, digest FROM digests WHERE path = ?"
            row = self._database.execute(query, (name,)).fetchone()
            if row is not None and row[:4] == state and len(row[4]) == DIGEST_BYTES:
                return bytes(row[4])
        digest = digest_file(real)
        if self._look(path) != (real, state):
            raise StoreError(f"{path} changed while it was read", "Run again once nothing writes to it.")
        self._database.execute(
            "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?)", (name, *state, digest)
        )
        return digest

    @staticmethod
    def _look(path: str | PathLike[str]) -> tuple[str, tuple[int, int, int, int]]:
        try:
            real = os.path.realpath(path, strict=True)
            stat = Path(real).stat()
        except OSError as error:
            raise StoreError(
                f"cannot read {path}: {error.strerror}", "Check the path and its permissions."
            ) from error
        return real, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
