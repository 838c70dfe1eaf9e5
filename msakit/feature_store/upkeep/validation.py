"""Checking a store's structure and bytes, and putting aside what is damaged (`msakit store validate`)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msakit.feature_store.disk.files import list_folder
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.index_cache import largest_index, read_cached, read_sample_index
from msakit.feature_store.disk.journal import read_owner
from msakit.feature_store.disk.layout import FeatureSetFolder, StoreFolder, read_tombstone
from msakit.feature_store.disk.owner import owner_is_local
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.disk.sample_index import (
    SampleIndex,
    ShardRef,
    index_shard,
    index_shard_file,
    merge_indexes,
)
from msakit.feature_store.disk.seal import damaged_samples, quarantine, write_shard
from msakit.feature_store.disk.shard import ShardIndex, read_shard_group
from msakit.feature_store.disk.tables import table_path
from msakit.feature_store.errors import (
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StoreReadError,
    StoreVersionError,
)
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.regular import open_regular, reading
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import SampleTable
from msakit.feature_store.upkeep.quarantined import examine_quarantine

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Damage:
    """One thing found: what, where, and which samples it concerns."""

    level: Level
    code: str
    path: str
    message: str
    keys: tuple[str, ...] = ()


@dataclass
class Validation:
    """The result of validating a store."""

    findings: list[Damage] = field(default_factory=list)
    num_samples: int = 0
    num_shards: int = 0
    num_bytes: int = 0
    repaired: list[str] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether something is lost or wrong."""
        return any(finding.level == "error" for finding in self.findings)

    def add(self, level: Level, code: str, path: Path, message: str, keys: tuple[str, ...] = ()) -> None:
        """Note a finding."""
        self.findings.append(Damage(level, code, str(path), message, keys))

    def document(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        return asdict(self) | {"damaged": self.damaged}


def validate_store(
    store: FeatureStore,
    *,
    deep: bool = False,
    repair: bool = False,
    progress: Callable[[int], None] = lambda num_bytes: None,
) -> Validation:
    """Check a store.

    Args:
        store: the store.
        deep: read every byte against its checksum, not only the structure.
        repair: move damaged shards and journals to quarantine/, re-seal their good samples.
        progress: called with the number of bytes of each shard checked.

    Returns:
        The findings; the keys to extract again are among them.
    """
    result = Validation()
    indexes: dict[str, SampleIndex] = {}
    if store.read_only:
        for fingerprint in store.feature_sets():
            indexes[fingerprint] = store.index(fingerprint)
            _count(result, indexes[fingerprint])
            if deep:
                _check_rows(store.path, indexes[fingerprint], result)
        result.num_bytes = store.path.stat().st_size
    else:
        for folder in StoreFolder(store.path).feature_sets():
            index = _FolderCheck(folder, result, deep=deep, repair=repair, progress=progress).run()
            if index is not None:
                indexes[folder.fingerprint] = index
    store.refresh()
    _check_tables(store, indexes, result)
    return result


class _FolderCheck:
    """Checks one feature set's folder."""

    def __init__(
        self,
        folder: FeatureSetFolder,
        result: Validation,
        *,
        deep: bool,
        repair: bool,
        progress: Callable[[int], None],
    ) -> None:
        self._folder, self._result = folder, result
        self._deep, self._repair, self._progress = deep, repair, progress

    def run(self) -> SampleIndex | None:
        """Check everything and return the index of what is sound."""
        folder, result = self._folder, self._result
        try:
            feature_set = folder.load()
        except StoreReadError:
            raise
        except StoreError as error:
            result.add("error", "feature-set", folder.path, error.message)
            return None
        parts = []
        if not self._check_tombstones():
            return None
        for path in folder.live_shards():
            part = self._check_shard(path, feature_set)
            if part is not None:
                parts.append(part)
            self._progress(path.stat().st_size if path.exists() else 0)
        index = merge_indexes(feature_set, parts)
        _count(result, index)
        if index.num_duplicates:
            result.add("note", "duplicates", folder.path, f"{index.num_duplicates} samples are stored twice")
        if index.conflicts:
            keys = tuple(key.hex() for key in index.conflicts)
            message = (
                f"{len(keys)} samples are stored with different values: the extractor is not deterministic"
            )
            result.add("warning", "conflict", folder.path, message, keys)
        self._check_cache(feature_set, index)
        self._check_leftovers()
        self._check_quarantine(feature_set, index)
        return index

    def _check_tombstones(self) -> bool:
        """Whether every tombstone can be read or was put aside: else nobody knows which shards count."""
        readable = True
        for path in self._folder.tombstone_files():
            try:
                read_tombstone(path)
            except StoreFormatError as error:
                self._result.add("error", "tombstone", path, error.message)
                readable &= self._repair
                if self._repair:
                    self._result.repaired.append(str(quarantine(self._folder, path)))
        return readable

    def _check_shard(self, path: Path, feature_set: FeatureSet) -> SampleIndex | None:
        try:
            with open_safely(path) as file:
                parsed = read_shard_group(file, file.root, feature_set)
                bad = damaged_samples(file.fd, parsed) if self._deep else []
                num_bytes = file.num_bytes
        except (StoreFormatError, StoreCorruptError) as error:  # what the machine refuses is raised
            self._result.add("error", "shard", path, error.message)
            if self._repair and not isinstance(error, StoreVersionError):
                self._result.repaired.append(str(quarantine(self._folder, path)))
            return None
        stat = path.stat()
        ref = ShardRef(path, num_bytes, stat.st_mtime_ns, parsed.provenance, parsed.num_samples)
        index = merge_indexes(feature_set, [index_shard(feature_set, parsed, ref)])
        if bad:
            keys = tuple(parsed.keys[row].tobytes().hex() for row in bad)
            message = f"{len(bad)} of {parsed.num_samples} samples do not match their checksum"
            self._result.add("error", "sample", path, message, keys)
            if self._repair:
                return self._salvage(path, feature_set, index, parsed, bad)
        return index

    def _salvage(
        self, path: Path, feature_set: FeatureSet, index: SampleIndex, parsed: ShardIndex, bad: list[int]
    ) -> SampleIndex | None:
        good = np.ones(parsed.num_samples, bool)
        good[bad] = False
        salvaged = None
        if good.any():
            shard_id = uuid.uuid4().hex
            rows = RowSource(index).rows_of(parsed.keys[good])
            write_shard(self._folder, feature_set, rows, (shard_id, parsed.provenance))
            salvaged = self._folder.shards / f"{shard_id}.h5"
            self._result.repaired.append(str(salvaged))
        # Only once its good samples are committed elsewhere.
        self._result.repaired.append(str(quarantine(self._folder, path)))
        return index_shard_file(salvaged, feature_set) if salvaged else None

    def _check_cache(self, feature_set: FeatureSet, index: SampleIndex) -> None:
        for path in list_folder(self._folder.index):
            try:
                read_cached(path, largest_index(sum(ref.num_bytes for ref in index.shards)))
            except StoreFormatError:
                self._result.add("warning", "index", path, "the cached index is damaged; it will be rebuilt")
                if self._repair:
                    path.unlink()
                    self._result.repaired.append(str(path))
        if not self._result.damaged and len(
            read_sample_index(self._folder, feature_set, writable=False)
        ) != len(index):
            self._result.add(
                "error", "index", self._folder.index, "the cached index does not match the shards"
            )

    def _check_leftovers(self) -> None:
        folder, result = self._folder, self._result
        for path in list_folder(folder.wal):
            local = owner_is_local(_owner(path))
            where = (
                "of this machine"
                if local
                else "of another machine: see `msakit store recover --adopt-foreign`"
            )
            result.add("note", "journal", path, f"a journal {where}; its samples are not sealed yet")
        for path in list_folder(folder.tmp):
            result.add("note", "temporary", path, "an unfinished file; removed when its process is gone")

    def _check_quarantine(self, feature_set: FeatureSet, index: SampleIndex) -> None:
        for item in examine_quarantine(self._folder, feature_set, index):
            message = f"put aside as damaged: {item.problem or 'it reads whole now'}."
            if item.keys:
                message += f" {len(item.keys)} samples in it can be read and are missing in the store."
            level: Level = "warning" if item.keys else "note"
            self._result.add(level, "quarantine", item.path, f"{message} {item.remedy}", item.keys)


def _owner(path: Path) -> dict[str, Any]:
    with reading(path):
        fd = open_regular(path)
        try:
            return read_owner(fd, path.stem)
        finally:
            os.close(fd)


def _check_rows(path: Path, index: SampleIndex, result: Validation) -> None:
    source = RowSource(index)
    bad = []
    for key in index.keys:
        try:
            source.rows_of(key.reshape(1, -1))
        except StoreCorruptError:
            bad.append(key.tobytes().hex())
    source.close()
    if bad:
        message = f"{len(bad)} of {len(index)} samples do not match their checksum"
        result.add("error", "sample", path, message, tuple(bad))


def _count(result: Validation, index: SampleIndex) -> None:
    result.num_samples += len(index)
    result.num_shards += len(index.shards)
    result.num_bytes += sum({ref.path: ref.num_bytes for ref in index.shards}.values())


def _check_tables(store: FeatureStore, indexes: dict[str, SampleIndex], result: Validation) -> None:
    for dataset in store.datasets():
        for version in store.versions(dataset):
            path = store.path if store.read_only else table_path(StoreFolder(store.path), dataset, version)
            try:
                table = store.table(dataset, version)
            except (StoreFormatError, StoreCorruptError) as error:
                result.add("error", "table", path, error.message)
                continue
            _check_joins(path, table, indexes, result)


def _check_joins(path: Path, table: SampleTable, indexes: dict[str, SampleIndex], result: Validation) -> None:
    for modality, column in table.features.items():
        index = indexes.get(column.fingerprint)
        if index is None:
            result.add(
                "error",
                "join",
                path,
                f"{modality} names feature set {column.fingerprint}, which is not sound",
            )
            continue
        keys = column.keys[column.present]
        missing = keys[index.find(keys) < 0]
        if len(missing):
            names = tuple(key.tobytes().hex() for key in missing)
            message = (
                f"{len(missing)} of {len(table)} samples have no {modality} features: extract them again"
            )
            result.add("error", "join", path, message, names)
