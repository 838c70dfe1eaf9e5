"""Keeping a store folder tidy: compact, recover journals, remove datasets and modalities."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.adoption import Recovery, adopt_orphans
from msakit.feature_store.disk.files import translated_errors
from msakit.feature_store.disk.journal import Locking
from msakit.feature_store.disk.layout import FeatureSetFolder, write_document
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.disk.sample_index import SampleIndex, index_shard_file, merge_indexes
from msakit.feature_store.disk.seal import write_shard
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.upkeep.copying import chunks_by_size
from msakit.feature_store.upkeep.garbage import Garbage, folder_of, remove

SMALL_SHARD_BYTES = 64 << 20


@dataclass
class CompactReport:
    """The effect of compaction on one feature set, done or planned."""

    fingerprint: str
    merged: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    num_duplicates: int = 0
    num_conflicts: int = 0


def compact(
    store: FeatureStore, *, small_bytes: float = SMALL_SHARD_BYTES, dry_run: bool = False
) -> list[CompactReport]:
    """Merge small shards and drop duplicates, feature set by feature set.

    A feature set with two different values for one key is reported and left as it is.

    The old shards stay until `collect_garbage` removes them after a grace period, so that readers that opened
    the store before keep working. A crash anywhere costs duplicates and nothing else.

    Raises:
        StoreError: when the store is a single file, the size none, a shard damaged, or writing fails.
    """
    if not small_bytes > 0:
        raise StoreError(f"a shard of {small_bytes} bytes is not a size", "Give a size above 0.")
    reports = []
    for folder in folder_of(store).feature_sets():
        report = _compact_one(folder, folder.load(), small_bytes, dry_run=dry_run)
        if report.merged or report.num_conflicts:
            reports.append(report)
    store.refresh()
    return reports


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

    Raises:
        StoreError: when `wal_dir` is no folder, the age is none, or the machine refuses.
    """
    root = folder_of(store)
    if wal_dir is not None and not wal_dir.is_dir():
        raise StoreError(f"there is no folder {wal_dir}", "Name the folder that the writers were given.")
    if foreign_older_than_s is not None and not foreign_older_than_s >= 0:
        raise StoreError(f"{foreign_older_than_s} s is not an age", "Give 0 or more.")
    found = {}
    for folder in root.feature_sets():
        feature_set = folder.load()
        with store.hold([feature_set]):
            found[folder.fingerprint] = adopt_orphans(
                folder,
                feature_set,
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
    root = folder_of(store)
    if dataset not in store.datasets():  # one that cannot be read can be removed
        known = ", ".join(store.datasets()) or "none"
        raise StoreError(f"{store.path} has no dataset {dataset!r}", f"Its datasets: {known}.")
    garbage = Garbage()
    garbage.add(root.tables / dataset)
    if not dry_run:
        with translated_errors(root.path):
            remove(root, root.tables / dataset)
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


def _compact_one(
    folder: FeatureSetFolder, feature_set: FeatureSet, small_bytes: float, *, dry_run: bool
) -> CompactReport:
    report = CompactReport(folder.fingerprint)
    parts = {path.name: index_shard_file(path, feature_set) for path in folder.live_shards()}
    whole = merge_indexes(feature_set, list(parts.values()))
    chosen = [name for name, part in parts.items() if part.shards[0].num_bytes < small_bytes]
    if whole.num_duplicates:
        chosen = list(parts)
    report.num_conflicts = len(whole.conflicts)
    if len(chosen) < 2 or whole.conflicts:  # which of two values is right is not for compaction to say
        return report
    merged = merge_indexes(feature_set, [parts[name] for name in chosen])
    report.merged, report.num_duplicates = chosen, merged.num_duplicates
    if not dry_run:
        report.written = _write_merged(folder, merged)
        document = canonical_json({"old": chosen, "new": report.written})
        with translated_errors(folder.retired):
            write_document(folder.tmp, folder.retired / f"{uuid.uuid4().hex}.json", document)
    return report


def _write_merged(folder: FeatureSetFolder, index: SampleIndex) -> list[str]:
    source, written = RowSource(index), []
    for chunk in chunks_by_size(index, index.keys):
        shard_id = uuid.uuid4().hex
        with translated_errors(folder.path):
            write_shard(folder, index.feature_set, source.rows_of(chunk), (shard_id, source.provenance()))
        written.append(f"{shard_id}.h5")
    return written
