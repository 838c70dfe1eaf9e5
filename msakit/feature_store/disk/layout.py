"""Paths of a store folder (docs/format.md, "Store folder")."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.files import (
    TEMPORARY,
    fsync_directory,
    list_folder,
    remove_dead_temporaries,
    translated_errors,
    write_whole,
)
from msakit.feature_store.disk.formats import STORE_FORMAT, STORE_VERSION, check_version
from msakit.feature_store.errors import StoreError, StoreFormatError
from msakit.feature_store.featureset import FeatureSet, parse_feature_set
from msakit.feature_store.regular import read_bounded, reading

FINGERPRINT = re.compile(r"[0-9a-f]{32}")
SHARD_NAME = re.compile(r"[0-9a-f]{32}\.h5")
TOMBSTONE_NAME = re.compile(r"[0-9a-f]{32}\.json")
JOURNAL_NAME = re.compile(r"[0-9a-f]{32}\.wal")
FOLDERS = ("fs", "tables", "tmp")
MAX_DOCUMENT_BYTES = 16 << 20
"""Shared by writers and readers, as every limit of the format is."""


@dataclass(frozen=True)
class FeatureSetFolder:
    """The folder of one feature set."""

    path: Path

    @property
    def fingerprint(self) -> str:
        """The folder's name, which is the hash of its document."""
        return self.path.name

    @property
    def shards(self) -> Path:
        """Committed shards."""
        return self.path / "shards"

    @property
    def wal(self) -> Path:
        """Journals of living writers, and of dead ones until adopted."""
        return self.path / "wal"

    @property
    def tmp(self) -> Path:
        """Files being written."""
        return self.path / "tmp"

    @property
    def retired(self) -> Path:
        """Tombstones of compacted shards."""
        return self.path / "retired"

    @property
    def index(self) -> Path:
        """Derived index, rebuildable."""
        return self.path / "index"

    @property
    def quarantine(self) -> Path:
        """Damaged files put aside, never read again."""
        return self.path / "quarantine"

    @property
    def leases(self) -> Path:
        """Who is at work here: garbage collection keeps away."""
        return self.path / "leases"

    def create(self, feature_set: FeatureSet) -> None:
        """Create the folder of a feature set; safe to race with other writers."""
        with translated_errors(self.path):
            document = self.path / "FEATURESET.json"
            if document.exists():
                return
            self.path.mkdir(parents=True, exist_ok=True)
            write_document(self.tmp, document, feature_set.canonical)
            fsync_directory(self.path.parent)

    def load(self) -> FeatureSet:
        """Read the feature set, checking that the document is the one the folder is named after."""
        document = self.path / "FEATURESET.json"
        return parse_feature_set(read_document(document), self.fingerprint, str(document))

    def live_shards(self) -> list[Path]:
        """Committed shards that no compaction has replaced, by name."""
        present = {path.name for path in list_folder(self.shards) if SHARD_NAME.fullmatch(path.name)}
        return [self.shards / name for name in sorted(present - self.retired_shards(present))]

    def retired_shards(self, present: set[str]) -> set[str]:
        """Names of shards whose replacements are present, or were replaced in turn.

        Until every replacement is there the old shards still count; at worst that costs duplicates.
        """
        retired: set[str] = set()
        tombstones = self.tombstones()
        while True:
            found = {name for old, new in tombstones if new <= present | retired for name in old}
            if found <= retired:
                return retired
            retired |= found

    def tombstones(self) -> list[tuple[set[str], set[str]]]:
        """(old shard names, new shard names) of every finished compaction."""
        return [read_tombstone(path) for path in self.tombstone_files()]

    def tombstone_files(self) -> list[Path]:
        """The files in which compactions say what replaces what."""
        return [path for path in list_folder(self.retired) if TOMBSTONE_NAME.fullmatch(path.name)]


@dataclass(frozen=True)
class StoreFolder:
    """The root folder of a store."""

    path: Path

    @property
    def document(self) -> Path:
        """The file that makes a folder a store."""
        return self.path / "STORE.json"

    @property
    def tables(self) -> Path:
        """Sample tables, one folder per dataset."""
        return self.path / "tables"

    def create(self) -> bool:
        """Turn an absent or empty folder into a store, or finish what a killed process began.

        Safe to race: one document wins.

        Returns:
            False when another process made the store first.

        Raises:
            StoreError: when the folder holds something else.
            StoreWriteError: when the system refuses.
        """
        content = canonical_json({"format": STORE_FORMAT, "version": STORE_VERSION})
        with translated_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.document.exists():
                self._refuse_other_content()
                remove_dead_temporaries(self.path)
            return write_document(self.path, self.document, content)

    def _refuse_other_content(self) -> None:
        """Only temporary files and empty folders may lie where a store is made: an unfinished creation."""
        for path in list_folder(self.path):
            ours = TEMPORARY.fullmatch(path.name) or path == self.document
            if ours or (path.name in FOLDERS and path.is_dir() and not list_folder(path)):
                continue
            if not self.document.exists():  # else another process has made the store meanwhile
                raise StoreError(
                    f"{self.path} exists and is not empty: it holds {path.name}", "Choose another folder."
                )

    def check(self) -> None:
        """Check that the folder is a store of a version this release reads.

        Raises:
            StoreError: when it is not.
        """
        with reading(self.document):
            there = self.document.exists()
        if not there:
            raise StoreError(
                f"{self.path} is not a feature store (it has no STORE.json)",
                "Check the path, or create one: FeatureStore.create(path).",
            )
        data = parse_document(self.document)
        if data.get("format") != STORE_FORMAT:
            raise StoreFormatError(
                f"{self.document}: format {data.get('format')!r} is unknown", "Check the path."
            )
        check_version(STORE_FORMAT, str(data.get("version")), str(self.document))

    def feature_set(self, fingerprint: str) -> FeatureSetFolder:
        """The folder of one feature set."""
        return FeatureSetFolder(self.path / "fs" / fingerprint)

    def feature_sets(self) -> list[FeatureSetFolder]:
        """Folders of every feature set, by fingerprint."""
        return [
            FeatureSetFolder(path)
            for path in list_folder(self.path / "fs")
            if FINGERPRINT.fullmatch(path.name) and (path / "FEATURESET.json").exists()
        ]


def write_document(tmp_dir: Path, path: Path, content: bytes) -> bool:
    """Write a small immutable document; return False when it existed already.

    Raises:
        StoreError: when it is too large to be read again.
        StoreWriteError: when the system refuses.
    """
    if len(content) > MAX_DOCUMENT_BYTES:
        raise StoreError(f"{path} would have {len(content):,} bytes, more than is read", "Shorten it.")
    return write_whole(tmp_dir, path, content)


def read_document(path: Path) -> bytes:
    """Read a small document.

    Raises:
        StoreError: when it cannot be read or is not small.
    """
    return read_bounded(path, MAX_DOCUMENT_BYTES)


def read_tombstone(path: Path) -> tuple[set[str], set[str]]:
    """Read what a compaction replaced by what: (old shard names, new shard names).

    Raises:
        StoreError: when it is not a tombstone.
    """
    data = parse_document(path)
    old, new = data.get("old"), data.get("new")
    for names in (old, new):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise StoreFormatError(
                f"{path} does not say which shards replace which",
                "Run `msakit store validate --repair`: it is put aside, and the old shards count again.",
            )
    return set(old or ()), set(new or ())


def parse_document(path: Path) -> dict[str, Any]:
    """Read a small JSON object.

    Raises:
        StoreFormatError: when it is not one.
    """
    try:
        data = json.loads(read_document(path))
    except (ValueError, RecursionError) as error:
        raise StoreFormatError(f"{path} is not a JSON document", "Restore the file.") from error
    if not isinstance(data, dict):
        raise StoreFormatError(f"{path} is not a JSON object", "Restore the file.")
    return data
