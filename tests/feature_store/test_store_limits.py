"""What a writer accepts a reader takes: provenance, columns, documents."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import AUDIO, NAMES, fill, key_of, values_of

from msakit.feature_store import FeatureStore, Sample, SampleTable, StoreError
from msakit.feature_store.disk.hdf5 import MAX_CHILDREN
from msakit.feature_store.upkeep.description import describe_feature_set, describe_store
from msakit.feature_store.upkeep.maintenance import compact
from msakit.feature_store.upkeep.validation import validate_store

COMPARE_COLUMNS = 6373


def wide_table(num_columns: int) -> SampleTable:
    """Two samples with that many numbers each, ComParE as a table."""
    extra = {f"functional_{number:05d}": number * 0.5 for number in range(num_columns)}
    return SampleTable.from_samples([Sample(name, "train", extra=extra) for name in ("a", "b")])


def test_a_long_provenance_is_kept(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    provenance = {"packages": [f"package-{number}==1.0.{number}" for number in range(10_000)]}
    with store.writer(AUDIO, provenance=provenance) as writer:
        writer.put(key_of("a"), values_of("a", 6))
    [found] = describe_feature_set(FeatureStore.open(store.path), AUDIO.fingerprint)["provenance"]
    assert found == {"samples": 1, **provenance}
    assert validate_store(store, deep=True).findings == []


def test_a_provenance_too_long_is_refused_before_anything_is_put(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with pytest.raises(StoreError, match="more than 1,048,576"):
        store.writer(AUDIO, provenance={"log": "x" * (1 << 20)})
    with pytest.raises(StoreError, match="no canonical form"):
        store.writer(AUDIO, provenance={"loss": float("nan")})
    assert store.fingerprints() == []


def test_many_provenances_can_be_compacted_and_exported(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    names = [f"clip{number}" for number in range(6)]
    for part in (names[:3], names[3:]):
        for name in part:
            with store.writer(AUDIO, provenance={"run": name, "note": "x" * 30_000}) as writer:
                writer.put(key_of(name), values_of(name, 6))
        compact(store)  # the second time a merged provenance is taken apart again, not nested
    samples = [Sample(name, "train", features={"audio": key_of(name)}) for name in names]
    store.write_table("demo", SampleTable.from_samples(samples, {"audio": AUDIO.fingerprint}))
    [found] = describe_feature_set(store, AUDIO.fingerprint)["provenance"]
    assert sorted(item["run"] for item in found["merged"]) == sorted(names)
    store.export_single_file(tmp_path / "demo.h5")
    single = FeatureStore.open(tmp_path / "demo.h5")
    [exported] = describe_feature_set(single, AUDIO.fingerprint)["provenance"]
    assert exported == found


@pytest.mark.slow
def test_compare_as_columns_reads_back(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    table = store.write_table("compare", wide_table(COMPARE_COLUMNS))
    read = FeatureStore.open(store.path).table("compare")
    assert list(read.extra) == sorted(table.extra)
    for name, column in table.extra.items():
        np.testing.assert_array_equal(read.extra[name], column)
    store.export_single_file(tmp_path / "one.h5")
    assert len(FeatureStore.open(tmp_path / "one.h5").table("compare").extra) == COMPARE_COLUMNS


def test_the_cost_grows_with_the_number_of_columns(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")

    def cpu_s(num_columns: int) -> float:
        start = time.process_time()
        store.write_table("wide", wide_table(num_columns))
        store.table("wide")
        return time.process_time() - start

    cpu_s(50)
    # Quadratic would be 16 times as much; a busy machine does not double a ratio of processor times.
    assert cpu_s(1000) < 9 * cpu_s(250)


def test_more_columns_than_a_reader_takes_are_not_written(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    table = wide_table(1)
    column = table.extra["functional_00000"]
    wide = replace(table, extra={f"c{number}": column for number in range(MAX_CHILDREN)})
    with pytest.raises(StoreError, match="columns are more than"):
        store.write_table("wide", wide)
    assert store.datasets() == []


def test_an_unreadable_table_or_feature_set_hides_no_other(store: FeatureStore) -> None:
    store.write_table("broken", store.table("demo"))
    (store.path / "tables" / "broken" / "000001.h5").write_bytes(b"\x89HDF broken")
    other = AUDIO.__class__("audio", "other@1", 3)
    with store.writer(other):
        pass
    (store.path / "fs" / other.fingerprint / "FEATURESET.json").write_text("{}")
    opened = FeatureStore.open(store.path)
    found = describe_store(opened)
    assert [item["dataset"] for item in found["datasets"] if "error" not in item] == ["demo"]
    [error] = [item["error"] for item in found["datasets"] if "error" in item]
    assert "000001.h5" in error
    assert len([item for item in found["feature_sets"] if "error" in item]) == 1
    assert len(opened.index(AUDIO.fingerprint)) == len(NAMES)
    fill(opened, ["new"])


@pytest.mark.parametrize("text", ["half \ud800 character", "\udcff"])
def test_half_characters_are_refused_by_name(tmp_path: Path, text: str) -> None:
    store = FeatureStore.create(tmp_path / "s")
    for sample in (Sample("a", "train", text=text), Sample("a", "train", extra={text: 1.0})):
        with pytest.raises(StoreError, match="not Unicode text"):
            store.write_table("demo", SampleTable.from_samples([sample]))
    with pytest.raises(StoreError, match="canonical form"):
        store.writer(AUDIO, provenance={"who": text})


@pytest.mark.parametrize(
    "sample", [Sample("a", "train", utterance=1e300), Sample("a", "train", extra={"n": 1 << 70})]
)
def test_numbers_beyond_a_column_are_refused_by_name(sample: Sample) -> None:
    with pytest.raises(StoreError, match=r"column '(utterance|n)'"):
        SampleTable.from_samples([sample])
