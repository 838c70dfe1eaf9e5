"""Copying samples and tables between stores: merge and select."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from msakit.feature_store.disk.files import translated_errors
from msakit.feature_store.disk.layout import StoreFolder
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.disk.seal import write_shard
from msakit.feature_store.disk.single_file import keys_in_tables
from msakit.feature_store.errors import StoreError
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import SampleTable

SHARD_BYTES = 256 << 20
SHARD_SAMPLES = 65_536

Keys = npt.NDArray[np.uint8]


@dataclass
class CopyReport:
    """The result of a copy, done or planned: samples per feature set and the tables written."""

    samples: dict[str, int] = field(default_factory=dict)
    num_bytes: int = 0
    tables: list[str] = field(default_factory=list)


def merge_stores(target: FeatureStore, sources: list[FeatureStore], *, dry_run: bool = False) -> CopyReport:
    """Copy everything `target` lacks; tables become new versions.

    Features already there are not copied again. Nothing of the target is changed or replaced.

    Raises:
        StoreError: when a key has different values in two stores (nothing is copied then), or writing fails.
    """
    _refuse_conflicts(target, sources)
    report = CopyReport()
    for source in sources:
        feature_sets = source.feature_sets()
        with nullcontext() if dry_run else target.hold(feature_sets.values()):
            for fingerprint in feature_sets:
                keys = source.index(fingerprint).keys
                _copy_features(target, source.index(fingerprint), keys, report, dry_run=dry_run)
            for dataset in source.datasets():
                table = source.table(dataset)
                if dataset in target.datasets() and _same(target.table(dataset), table):
                    continue
                report.tables.append(dataset)
                if not dry_run:
                    target.write_table(dataset, table)
    return report


def copy_selection(
    source: FeatureStore, target: FeatureStore, tables: Mapping[str, SampleTable]
) -> CopyReport:
    """Copy tables (selections of the source's) and exactly the features they name.

    Raises:
        StoreError: when writing fails.
    """
    report = CopyReport()
    used = {item.fingerprint for table in tables.values() for item in table.features.values()}
    indexes = [source.index(fingerprint) for fingerprint in sorted(used)]
    with target.hold(index.feature_set for index in indexes):
        for index in indexes:
            keys = keys_in_tables(list(tables.values()), index.feature_set.fingerprint)
            _copy_features(target, index, keys, report, dry_run=False)
        for dataset, table in tables.items():
            report.tables.append(dataset)
            target.write_table(dataset, table)
    return report


def chunks_by_size(index: SampleIndex, keys: Keys) -> Iterator[Keys]:
    """Cut keys into runs that make one shard each."""
    found = index.find(keys)
    sizes = sum(
        index.places[spec.name].length[found].astype(np.int64) * spec.row_bytes
        for spec in index.feature_set.fields
    )
    start = total = 0
    for position, size in enumerate(np.broadcast_to(sizes, len(keys)).tolist()):
        if position > start and (total + size > SHARD_BYTES or position - start >= SHARD_SAMPLES):
            yield keys[start:position]
            start, total = position, 0
        total += size
    if len(keys) > start:
        yield keys[start:]


def _copy_features(
    target: FeatureStore, index: SampleIndex, keys: Keys, report: CopyReport, *, dry_run: bool
) -> None:
    feature_set = index.feature_set
    if feature_set.fingerprint in target.fingerprints():
        keys = keys[target.index(feature_set.fingerprint).find(keys) < 0]
    report.samples[feature_set.fingerprint] = report.samples.get(feature_set.fingerprint, 0) + len(keys)
    found = index.find(keys)
    lengths = {spec.name: int(index.places[spec.name].length[found].sum()) for spec in feature_set.fields}
    report.num_bytes += sum(lengths[spec.name] * spec.row_bytes for spec in feature_set.fields)
    if dry_run:
        return
    folder = StoreFolder(target.path).feature_set(feature_set.fingerprint)
    source = RowSource(index)
    for chunk in chunks_by_size(index, keys):
        with translated_errors(folder.path):
            write_shard(folder, feature_set, source.rows_of(chunk), (uuid.uuid4().hex, source.provenance()))
    target.refresh()


def _refuse_conflicts(target: FeatureStore, sources: list[FeatureStore]) -> None:
    """Check before anything is written that no key means two things."""
    seen: dict[str, list[tuple[FeatureStore, SampleIndex]]] = {}
    for store in [target, *sources]:
        for fingerprint in store.feature_sets():
            index = store.index(fingerprint)
            for other, earlier in seen.get(fingerprint, []):
                _compare(store, index, other, earlier)
            seen.setdefault(fingerprint, []).append((store, index))


def _compare(store: FeatureStore, index: SampleIndex, other: FeatureStore, earlier: SampleIndex) -> None:
    rows = earlier.find(index.keys)
    common = rows >= 0
    modality = index.feature_set.modality
    ours, theirs = index.places[modality].hashes[common], earlier.places[modality].hashes[rows[common]]
    differing = np.flatnonzero(ours != theirs)
    if len(differing):
        key = index.keys[common][differing[0]].tobytes().hex()
        raise StoreError(
            f"{len(differing)} samples of {modality} feature set {index.feature_set.fingerprint} "
            f"have other values in {store.path} than in {other.path}, the first is {key}",
            "The extractor is not deterministic; keep one of the two.",
        )


def _same(one: SampleTable, other: SampleTable) -> bool:
    if len(one) != len(other) or dict(one.attributes) != dict(other.attributes):
        return False
    if list(one.columns()) != list(other.columns()) or list(one.features) != list(other.features):
        return False
    equal_columns = all(
        np.array_equal(
            np.asarray(a), np.asarray(b), equal_nan=isinstance(a, np.ndarray) and a.dtype.kind == "f"
        )
        for a, b in zip(one.columns().values(), other.columns().values(), strict=True)
    )
    return equal_columns and all(
        a.fingerprint == b.fingerprint
        and np.array_equal(a.keys, b.keys)
        and np.array_equal(a.present, b.present)
        for a, b in zip(one.features.values(), other.features.values(), strict=True)
    )
