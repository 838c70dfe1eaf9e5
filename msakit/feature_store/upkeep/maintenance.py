"""Keeping a store folder tidy: compact, collect garbage, recover journals, remove."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.catalog import Catalog, catalog_of_shard, merge_catalogs
from msakit.feature_store.disk.files import (
    fsync_directory,
    remove_dead_temporaries,
    translated_errors,
    write_whole,
)
from msakit.feature_store.disk.journal import Locking
from msakit.feature_store.disk.layout import FeatureSetFolder, StoreFolder, list_folder
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.disk.seal import Recovery, adopt_orphans, write_shard
from msakit.feature_store.disk.tables import (
    check_dataset_name,
    dataset_names,
    read_table,
    table_path,
    table_versions,
)
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.upkeep.copying import chunks_by_size

SMALL_SHARD_BYTES = 64 << 20
GRACE_S = 3600.0


@dataclass
class CompactReport:
    """What compaction did, or would do, to one feature set."""

    fingerprint: str
    merged: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    num_duplicates: int = 0
    num_conflicts: int = 0


@dataclass
class Garbage:
    """Paths that are of no use any more, with their size."""

    paths: list[Path] = field(default_factory=list)
    num_bytes: int = 0

    def add(self, path: Path) -> None:
        """Note a file or folder."""
        self.paths.append(path)
        self.num_bytes += size_of(path)


def compact(
    store: FeatureStore, *, small_bytes: int = SMALL_SHARD_BYTES, dry_run: bool = False
) -> list[CompactReport]:
    """Merge small shards and drop duplicates, feature set by feature set.

    A feature set with two different values for one key is reported and left as it is.

    The old shards stay until `collect_garbage` removes them after a grace period, so that readers that opened
    the store before keep working. A crash anywhere costs duplicates and nothing else.

    Raises:
        StoreError: when the store is a single file, a shard is damaged, or writing fails.
    """
    _folder_of(store)
    reports = []
    for folder in StoreFolder(store.path).feature_sets():
        report = _compact_one(folder, folder.load(), small_bytes, dry_run=dry_run)
        if report.merged or report.num_conflicts:
            reports.append(report)
    store.refresh()
    return reports


def find_garbage(
    store: FeatureStore, *, unreferenced: bool = False, grace_s: float = GRACE_S, now_s: float | None = None
) -> Garbage:
    """List what can be removed without losing a sample any table names.

    Args:
        store: the store.
        unreferenced: also feature sets no current table names (and the superseded tables that do name them);
            feature sets with a journal, that is, being written, never.
        grace_s: how long compacted shards are kept for readers opened before.
        now_s: the current time.
    """
    root, now = _folder_of(store), time.time() if now_s is None else now_s
    garbage = Garbage()
    for folder in root.feature_sets():
        names = {path.name for path in list_folder(folder.shards)}
        for name in sorted(folder.retired_shards(names) & names):
            if now - _retired_at(folder, name) >= grace_s:
                garbage.add(folder.shards / name)
    if unreferenced:
        _add_unreferenced(root, garbage)
    return garbage


def collect_garbage(store: FeatureStore, garbage: Garbage) -> None:
    """Remove what `find_garbage` listed, and temporary files of dead processes.

    Raises:
        StoreWriteError: when the system refuses.
    """
    root = _folder_of(store)
    with translated_errors(root.path):
        for path in garbage.paths:
            _remove(root, path)
        for folder in [root.path / "tmp", *(item.tmp for item in root.feature_sets())]:
            remove_dead_temporaries(folder, GRACE_S, time.time())
    store.refresh()


def recover(
    store: FeatureStore,
    *,
    wal_dir: Path | None = None,
    locking: Locking = "flock",
    foreign_older_than_s: float | None = None,
) -> dict[str, Recovery]:
    """Seal the journals of dead writers in every feature set.

    Args:
        store: the store.
        wal_dir: where the journals are, when not inside the store.
        locking: "flock", or "none" on file systems without locks.
        foreign_older_than_s: also adopt journals of other machines that were not touched for this long; only
            safe when their writers are known to be dead.
    """
    found = {}
    for folder in _folder_of(store).feature_sets():
        found[folder.fingerprint] = adopt_orphans(
            folder,
            folder.load(),
            wal_dir=wal_dir / folder.fingerprint if wal_dir else None,
            locking=locking,
            foreign_older_than_s=foreign_older_than_s,
            now_s=time.time(),
        )
    store.refresh()
    return found


def remove_dataset(store: FeatureStore, dataset: str, *, dry_run: bool = False) -> Garbage:
    """Remove a dataset's tables, all versions. Its features stay until garbage is collected.

    Raises:
        StoreError: when there is no such dataset.
    """
    root = _folder_of(store)
    store.table(dataset)
    garbage = Garbage()
    garbage.add(root.tables / dataset)
    if not dry_run:
        with translated_errors(root.path):
            _remove(root, root.tables / dataset)
    return garbage


def remove_modality(store: FeatureStore, dataset: str, modality: str, *, dry_run: bool = False) -> int:
    """Write a new version of a table without one modality; return how many samples had it.

    Raises:
        StoreError: when the dataset has no such modality.
    """
    table = store.table(dataset)
    column = table.feature(modality)
    if not dry_run:
        store.write_table(dataset, table.without(modality))
    return int(np.count_nonzero(column.present))


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


def _folder_of(store: FeatureStore) -> StoreFolder:
    if store.read_only:
        raise StoreError(f"{store.path} is a single-file store, which is read-only", "Use a store folder.")
    return StoreFolder(store.path)


def _compact_one(
    folder: FeatureSetFolder, feature_set: FeatureSet, small_bytes: int, *, dry_run: bool
) -> CompactReport:
    report = CompactReport(folder.fingerprint)
    parts = {path.name: catalog_of_shard(path, feature_set) for path in folder.live_shards()}
    whole = merge_catalogs(feature_set, list(parts.values()))
    chosen = [name for name, part in parts.items() if part.shards[0].num_bytes < small_bytes]
    if whole.num_duplicates:
        chosen = list(parts)
    report.num_conflicts = len(whole.conflicts)
    if len(chosen) < 2 or whole.conflicts:  # which of two values is right is not for compaction to say
        return report
    merged = merge_catalogs(feature_set, [parts[name] for name in chosen])
    report.merged, report.num_duplicates = chosen, merged.num_duplicates
    if not dry_run:
        report.written = _write_merged(folder, merged)
        document = canonical_json({"old": chosen, "new": report.written})
        write_whole(folder.tmp, folder.retired / f"{uuid.uuid4().hex}.json", document)
    return report


def _write_merged(folder: FeatureSetFolder, catalog: Catalog) -> list[str]:
    source, written = RowSource(catalog), []
    for chunk in chunks_by_size(catalog, catalog.keys):
        shard_id = uuid.uuid4().hex
        with translated_errors(folder.path):
            write_shard(folder, catalog.feature_set, source.rows_of(chunk), (shard_id, source.provenance()))
        written.append(f"{shard_id}.h5")
    return written


def _retired_at(folder: FeatureSetFolder, name: str) -> float:
    times = [
        path.stat().st_mtime for path in list_folder(folder.retired) if name.encode() in path.read_bytes()
    ]
    return max(times, default=0.0)


def _add_unreferenced(root: StoreFolder, garbage: Garbage) -> None:
    current = [read_table(root, name, None) for name in dataset_names(root)]
    used = {item.fingerprint for table in current for item in table.features.values()}
    doomed = set()
    for folder in root.feature_sets():
        if folder.fingerprint not in used and not list_folder(folder.wal):
            doomed.add(folder.fingerprint)
            garbage.add(folder.path)
    for name in dataset_names(root):
        check_dataset_name(name)
        for version in table_versions(root, name)[:-1]:
            table = read_table(root, name, version)
            if any(item.fingerprint in doomed for item in table.features.values()):
                garbage.add(table_path(root, name, version))


def _remove(root: StoreFolder, path: Path) -> None:
    if path.is_file():
        path.unlink()
        fsync_directory(path.parent)
        return
    # Out of sight in one step first: a half-removed folder must never look like a store's.
    doomed = root.path / "tmp" / f"{uuid.uuid4().hex}.removed"
    path.rename(doomed)
    fsync_directory(path.parent)
    shutil.rmtree(doomed)
