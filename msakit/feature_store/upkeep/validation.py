"""Checking a store's structure and bytes, and putting aside what is damaged (`msakit store validate`)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash

from msakit.feature_store.disk.catalog import (
    Catalog,
    ShardRef,
    catalog_of_index,
    catalog_of_shard,
    merge_catalogs,
    read_catalog,
)
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.layout import FeatureSetFolder, StoreFolder, list_folder
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.disk.seal import (
    damaged_samples,
    owner_is_local,
    peek_owner,
    quarantine,
    write_shard,
)
from msakit.feature_store.disk.shard import ShardIndex, read_shard_group
from msakit.feature_store.disk.tables import table_path
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import SampleTable

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing found: what, where, and which samples it concerns."""

    level: Level
    code: str
    path: str
    message: str
    keys: tuple[str, ...] = ()


@dataclass
class Validation:
    """The result of validating a store."""

    findings: list[Finding] = field(default_factory=list)
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
        self.findings.append(Finding(level, code, str(path), message, keys))

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
    catalogs: dict[str, Catalog] = {}
    if store.read_only:
        for fingerprint in store.feature_sets():
            catalogs[fingerprint] = store.catalog(fingerprint)
            _count(result, catalogs[fingerprint])
            if deep:
                _check_rows(store.path, catalogs[fingerprint], result)
        result.num_bytes = store.path.stat().st_size
    else:
        for folder in StoreFolder(store.path).feature_sets():
            catalog = _FolderCheck(folder, result, deep=deep, repair=repair, progress=progress).run()
            if catalog is not None:
                catalogs[folder.fingerprint] = catalog
    store.refresh()
    _check_tables(store, catalogs, result)
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

    def run(self) -> Catalog | None:
        """Check everything and return the catalog of what is sound."""
        folder, result = self._folder, self._result
        try:
            feature_set = folder.load()
        except StoreError as error:
            result.add("error", "feature-set", folder.path, error.message)
            return None
        parts = []
        for path in folder.live_shards():
            part = self._check_shard(path, feature_set)
            if part is not None:
                parts.append(part)
            self._progress(path.stat().st_size if path.exists() else 0)
        catalog = merge_catalogs(feature_set, parts)
        _count(result, catalog)
        if catalog.num_duplicates:
            result.add(
                "note", "duplicates", folder.path, f"{catalog.num_duplicates} samples are stored twice"
            )
        if catalog.conflicts:
            keys = tuple(key.hex() for key in catalog.conflicts)
            message = (
                f"{len(keys)} samples are stored with different values: the extractor is not deterministic"
            )
            result.add("warning", "conflict", folder.path, message, keys)
        self._check_cache(feature_set, catalog)
        self._check_leftovers()
        return catalog

    def _check_shard(self, path: Path, feature_set: FeatureSet) -> Catalog | None:
        try:
            with open_safely(path) as file:
                index = read_shard_group(file, file.root, feature_set)
                bad = damaged_samples(file.fd, index) if self._deep else []
                num_bytes = file.num_bytes
        except StoreError as error:
            self._result.add("error", "shard", path, error.message)
            if self._repair:
                self._result.repaired.append(str(quarantine(self._folder, path)))
            return None
        stat = path.stat()
        ref = ShardRef(path, num_bytes, stat.st_mtime_ns, index.provenance, index.num_samples)
        catalog = merge_catalogs(feature_set, [catalog_of_index(feature_set, index, ref)])
        if bad:
            keys = tuple(index.keys[row].tobytes().hex() for row in bad)
            message = f"{len(bad)} of {index.num_samples} samples do not match their checksum"
            self._result.add("error", "sample", path, message, keys)
            if self._repair:
                return self._salvage(path, feature_set, catalog, index, bad)
        return catalog

    def _salvage(
        self, path: Path, feature_set: FeatureSet, catalog: Catalog, index: ShardIndex, bad: list[int]
    ) -> Catalog | None:
        good = np.ones(index.num_samples, bool)
        good[bad] = False
        salvaged = None
        if good.any():
            shard_id = uuid.uuid4().hex
            rows = RowSource(catalog).rows_of(index.keys[good])
            write_shard(self._folder, feature_set, rows, (shard_id, index.provenance))
            salvaged = self._folder.shards / f"{shard_id}.h5"
            self._result.repaired.append(str(salvaged))
        # Only once its good samples are committed elsewhere.
        self._result.repaired.append(str(quarantine(self._folder, path)))
        return catalog_of_shard(salvaged, feature_set) if salvaged else None

    def _check_cache(self, feature_set: FeatureSet, catalog: Catalog) -> None:
        for path in list_folder(self._folder.catalog):
            if path.suffix == ".npz" and xxhash.xxh3_128_hexdigest(path.read_bytes()) != path.stem:
                self._result.add(
                    "warning", "catalog", path, "the cached catalog is damaged; it will be rebuilt"
                )
                if self._repair:
                    path.unlink()
                    self._result.repaired.append(str(path))
        if not self._result.damaged and len(read_catalog(self._folder, feature_set, writable=False)) != len(
            catalog
        ):
            self._result.add(
                "error", "catalog", self._folder.catalog, "the cached catalog does not match the shards"
            )

    def _check_leftovers(self) -> None:
        folder, result = self._folder, self._result
        for path in list_folder(folder.wal):
            local = owner_is_local(peek_owner(path))
            where = (
                "of this machine"
                if local
                else "of another machine: see `msakit store recover --adopt-foreign`"
            )
            result.add("note", "journal", path, f"a journal {where}; its samples are not sealed yet")
        for path in list_folder(folder.quarantine):
            result.add("note", "quarantine", path, "put aside by an earlier repair")
        for path in list_folder(folder.tmp):
            result.add("note", "temporary", path, "an unfinished file; removed when its process is gone")


def _check_rows(path: Path, catalog: Catalog, result: Validation) -> None:
    source = RowSource(catalog)
    bad = []
    for key in catalog.keys:
        try:
            source.rows_of(key.reshape(1, -1))
        except StoreError:
            bad.append(key.tobytes().hex())
    source.close()
    if bad:
        message = f"{len(bad)} of {len(catalog)} samples do not match their checksum"
        result.add("error", "sample", path, message, tuple(bad))


def _count(result: Validation, catalog: Catalog) -> None:
    result.num_samples += len(catalog)
    result.num_shards += len(catalog.shards)
    result.num_bytes += sum({ref.path: ref.num_bytes for ref in catalog.shards}.values())


def _check_tables(store: FeatureStore, catalogs: dict[str, Catalog], result: Validation) -> None:
    for dataset in store.datasets():
        for version in store.versions(dataset):
            path = store.path if store.read_only else table_path(StoreFolder(store.path), dataset, version)
            try:
                table = store.table(dataset, version)
            except StoreError as error:
                result.add("error", "table", path, error.message)
                continue
            _check_joins(path, table, catalogs, result)


def _check_joins(path: Path, table: SampleTable, catalogs: dict[str, Catalog], result: Validation) -> None:
    for modality, column in table.features.items():
        catalog = catalogs.get(column.fingerprint)
        if catalog is None:
            result.add(
                "error",
                "join",
                path,
                f"{modality} names feature set {column.fingerprint}, which is not sound",
            )
            continue
        keys = column.keys[column.present]
        missing = keys[catalog.find(keys) < 0]
        if len(missing):
            names = tuple(key.tobytes().hex() for key in missing)
            message = (
                f"{len(missing)} of {len(table)} samples have no {modality} features: extract them again"
            )
            result.add("error", "join", path, message, names)
