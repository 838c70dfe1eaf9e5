"""Paths of a store folder (docs/format.md, "Store folder")."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.files import fsync_directory, translated_errors, write_whole
from msakit.feature_store.disk.formats import STORE_FORMAT, STORE_VERSION, check_version
from msakit.feature_store.errors import StoreError, StoreFormatError
from msakit.feature_store.featureset import FeatureSet, parse_feature_set

FINGERPRINT = re.compile(r"[0-9a-f]{32}")
SHARD_NAME = re.compile(r"[0-9a-f]{32}\.h5")
JOURNAL_NAME = re.compile(r"[0-9a-f]{32}\.wal")
MAX_DOCUMENT_BYTES = 1 << 20


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
    def catalog(self) -> Path:
        """Derived index, rebuildable."""
        return self.path / "catalog"

    @property
    def quarantine(self) -> Path:
        """Damaged files put aside, never read again."""
        return self.path / "quarantine"

    def make_folders(self) -> None:
        """Make the folders inside; a copy of a store may lack the empty ones (git keeps none)."""
        for folder in (self.shards, self.wal, self.tmp, self.retired, self.catalog):
            folder.mkdir(parents=True, exist_ok=True)

    def create(self, feature_set: FeatureSet) -> None:
        """Create the folder of a feature set; safe to race with other writers."""
        with translated_errors(self.path):
            self.make_folders()
            document = self.path / "FEATURESET.json"
            if not document.exists():
                write_whole(self.tmp, document, feature_set.canonical)
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
        """(old shard names, new shard names) of every finished compaction, oldest first."""
        found = []
        for path in sorted(list_folder(self.retired), key=lambda item: item.name):
            if path.suffix == ".json":
                data = parse_document(path)
                found.append((set(data["old"]), set(data["new"])))
        return found


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

    def create(self) -> None:
        """Turn an absent or empty folder into a store; safe to race, the first one wins."""
        with translated_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.document.exists():
                content = canonical_json({"format": STORE_FORMAT, "version": STORE_VERSION})
                write_whole(self.path, self.document, content)
            for folder in (self.path / "fs", self.tables, self.path / "tmp"):
                folder.mkdir(exist_ok=True)
            fsync_directory(self.path)

    def check(self) -> None:
        """Check that the folder is a store of a version this release reads.

        Raises:
            StoreError: when it is not.
        """
        if not self.document.is_file():
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


def list_folder(path: Path) -> list[Path]:
    """Members of a folder by name; none when it does not exist."""
    try:
        return sorted(path.iterdir())
    except FileNotFoundError:
        return []


def read_document(path: Path) -> bytes:
    """Read a small document.

    Raises:
        StoreError: when it cannot be read or is not small.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror}", "Check the path and its permissions."
        ) from error
    if len(content) > MAX_DOCUMENT_BYTES:
        raise StoreFormatError(f"{path} is larger than {MAX_DOCUMENT_BYTES} bytes", "Restore the file.")
    return content


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
