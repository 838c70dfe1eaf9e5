"""Merge, select, compact, remove, collect; and validation with repair."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import AUDIO, NAMES, VISION, fill, key_of, values_of

from msakit.feature_store import FeatureStore, StoreError, WriterOptions
from msakit.feature_store.upkeep.copying import copy_selection, merge_stores
from msakit.feature_store.upkeep.garbage import collect_garbage, find_garbage
from msakit.feature_store.upkeep.maintenance import compact, remove_dataset, remove_modality
from msakit.feature_store.upkeep.selection import matching_rows
from msakit.feature_store.upkeep.validation import validate_store


def files(root: Path) -> dict[str, bytes]:
    """Content of every file but the indexes, which reading may write."""
    found = [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".idx"]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def assert_same_data(one: FeatureStore, other: FeatureStore, dataset: str) -> None:
    tables = one.table(dataset), other.table(dataset)
    assert tables[0].id == tables[1].id
    for modality in tables[0].features:
        a, b = (
            s.reader(t, modality, verify="always").read(range(len(t)))
            for s, t in zip((one, other), tables, strict=True)
        )
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.present, b.present)


def test_merge_copies_what_is_missing(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore.create(tmp_path / "other")
    other.write_table("more", fill(other, [*NAMES[:4], "new1", "new2"]))
    single = tmp_path / "other.h5"
    other.export_single_file(single)
    before = files(store.path)
    plan = merge_stores(store, [FeatureStore.open(single)], dry_run=True)
    assert files(store.path) == before
    report = merge_stores(store, [FeatureStore.open(single)])
    assert plan == report
    # clip03 had no vision in the first store
    assert report.samples == {AUDIO.fingerprint: 2, VISION.fingerprint: 3}
    assert report.tables == ["more"]
    assert_same_data(other, store, "more")
    assert store.index(AUDIO.fingerprint).num_duplicates == 0
    assert merge_stores(store, [other]).tables == []


def test_merge_refuses_two_values_for_one_key_before_writing(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore.create(tmp_path / "other")
    with other.writer(AUDIO) as writer:
        writer.put(key_of("clip00"), values_of("clip01", 6))
        writer.put(key_of("fresh"), values_of("fresh", 6))
    before = files(store.path)
    with pytest.raises(StoreError, match=key_of("clip00").hex()):
        merge_stores(store, [other])
    assert files(store.path) == before


def test_selection_takes_only_what_it_needs(store: FeatureStore, tmp_path: Path) -> None:
    table = store.table("demo")
    rows = matching_rows(table, splits=["train", "test"], where=["speaker=s1"])
    expected = [r for r in range(12) if table.split[r] in ("train", "test") and table.speaker[r] == "s1"]
    assert rows.tolist() == expected
    target = FeatureStore.create(tmp_path / "small")
    copy_selection(store, target, {"demo": table.select(rows)})
    small = target.table("demo")
    assert small.id == tuple(table.id[row] for row in expected)
    assert len(target.index(AUDIO.fingerprint)) == len(expected)
    reader = target.reader(small, "audio")
    for row, name in enumerate(small.id):
        np.testing.assert_array_equal(reader.read_one(row), values_of(name, 6))


def test_selection_by_numbers_and_ids(store: FeatureStore) -> None:
    table = store.table("demo")
    assert matching_rows(table, where=["take=3"]).tolist() == [3]
    assert matching_rows(table, where=["label=-0.5"]).tolist() == [2]
    assert matching_rows(table, ids=["clip05", "clip01"]).tolist() == [1, 5]
    for bad, message in [
        ({"where": ["colour=red"]}, "no column 'colour'"),
        ({"where": ["speaker"]}, "COLUMN=VALUE"),
        ({"where": ["label=red"]}, "holds numbers"),
        ({"ids": ["nobody"]}, "no sample 'nobody'"),
        ({"splits": ["dev"]}, "no split 'dev'"),
        ({"where": ["speaker=nobody"]}, "no sample is selected"),
    ]:
        with pytest.raises(StoreError, match=message):
            matching_rows(table, **bad)


def test_compaction_merges_and_keeps_old_shards_for_a_while(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO, WriterOptions(shard_samples=3)) as writer:
        for name in NAMES:
            writer.put(key_of(name), values_of(name, 6), meta={"name": name})
    with store.writer(AUDIO) as one, store.writer(AUDIO) as two:
        one.put(key_of("twice"), values_of("twice", 6))
        two.put(key_of("twice"), values_of("twice", 6))
    before = files(store.path)
    [plan] = compact(store, dry_run=True)
    assert (len(plan.merged), plan.num_duplicates, plan.written) == (6, 1, [])
    assert files(store.path) == before
    [report] = compact(store)
    assert len(report.written) == 1
    index = store.index(AUDIO.fingerprint)
    assert (len(index), len(index.shards), index.num_duplicates) == (13, 1, 0)
    assert len(list((store.path / "fs" / AUDIO.fingerprint / "shards").iterdir())) == 7
    assert find_garbage(store).paths == []
    garbage = find_garbage(store, grace_s=0.0)
    assert len(garbage.paths) == 6
    collect_garbage(store, garbage)
    assert [p.name for p in (store.path / "fs" / AUDIO.fingerprint / "shards").iterdir()] == report.written
    assert validate_store(store, deep=True).findings == []
    assert len(store.index(AUDIO.fingerprint)) == 13
    assert compact(store) == []


def test_compaction_interrupted_before_its_tombstone_only_doubles(store: FeatureStore) -> None:
    with store.writer(AUDIO) as writer:
        writer.put(key_of("late"), values_of("late", 6))
    store.refresh()
    compact(store)
    for path in (store.path / "fs" / AUDIO.fingerprint / "retired").iterdir():
        path.unlink()
    store.refresh()
    index = store.index(AUDIO.fingerprint)
    assert (len(index), index.num_duplicates, index.conflicts) == (13, 13, ())


def test_chained_compactions_bring_nothing_back(store: FeatureStore) -> None:
    folder = store.path / "fs" / AUDIO.fingerprint
    for name in ("x", "y", "z"):
        with store.writer(AUDIO) as writer:
            writer.put(key_of(name), values_of(name, 6))
        compact(store)
        newest = store.index(AUDIO.fingerprint)
        assert (len(newest.shards), newest.num_duplicates) == (1, 0)
    collect_garbage(store, find_garbage(store, grace_s=0.0))
    assert len(list((folder / "shards").iterdir())) == 1
    assert len(store.index(AUDIO.fingerprint)) == 15


def test_conflicts_are_not_compacted_away(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as one, store.writer(AUDIO) as two:
        one.put(key_of("a"), values_of("a", 6))
        two.put(key_of("a"), values_of("b", 6))
    [report] = compact(store)
    assert (report.merged, report.num_conflicts) == ([], 1)
    assert len(store.index(AUDIO.fingerprint).shards) == 2


def test_removing_a_modality_makes_a_version(store: FeatureStore) -> None:
    assert remove_modality(store, "demo", "vision", dry_run=True) == 11
    assert store.versions("demo") == [1]
    assert remove_modality(store, "demo", "vision") == 11
    assert list(store.table("demo").features) == ["audio"]
    assert list(store.table("demo", 1).features) == ["audio", "vision"]
    with pytest.raises(StoreError, match="no 'vision' features"):
        remove_modality(store, "demo", "vision")
    garbage = find_garbage(store, unreferenced=True, grace_s=0.0)
    assert [path.name for path in garbage.paths] == [VISION.fingerprint, "000001.h5"]
    assert garbage.num_bytes > 0
    collect_garbage(store, garbage)
    assert list(store.feature_sets()) == [AUDIO.fingerprint]
    assert store.versions("demo") == [2]
    assert validate_store(store, deep=True).findings == []


def test_removing_a_dataset_leaves_features_being_written(store: FeatureStore) -> None:
    before = files(store.path)
    assert remove_dataset(store, "demo", dry_run=True).num_bytes > 0
    assert files(store.path) == before
    remove_dataset(store, "demo")
    assert store.datasets() == []
    with store.writer(AUDIO) as writer:
        writer.put(key_of("coming"), values_of("coming", 6))
        assert [path.name for path in find_garbage(store, unreferenced=True, grace_s=0.0).paths] == [
            VISION.fingerprint
        ]


def test_a_whole_store_validates(store: FeatureStore, tmp_path: Path) -> None:
    result = validate_store(store, deep=True)
    assert (result.findings, result.damaged, result.num_samples, result.num_shards) == ([], False, 23, 2)
    store.export_single_file(tmp_path / "demo.h5")
    assert validate_store(FeatureStore.open(tmp_path / "demo.h5"), deep=True).findings == []


def damage(path: Path, offset: int) -> None:
    """Flip a bit through the file, not through its name: mapped readers see it as on a failing disk."""
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), offset)


def test_damaged_samples_are_found_put_aside_and_the_rest_kept(store: FeatureStore) -> None:
    index = store.index(AUDIO.fingerprint)
    row = int(index.find(np.frombuffer(key_of("clip05"), np.uint8).reshape(1, -1))[0])
    damage(index.shards[0].path, int(index.places["audio"].start[row]) + 1)
    assert not validate_store(store).damaged, "the structure alone is whole"
    result = validate_store(store, deep=True)
    [finding] = result.findings
    assert (finding.level, finding.code, finding.keys) == ("error", "sample", (key_of("clip05").hex(),))
    repaired = validate_store(store, deep=True, repair=True)
    assert len(repaired.repaired) == 2
    after = validate_store(store, deep=True)
    assert {finding.code for finding in after.findings} == {"quarantine", "join"}
    [join] = [finding for finding in after.findings if finding.code == "join"]
    assert join.keys == (key_of("clip05").hex(),)
    with store.writer(AUDIO) as writer:
        assert [name for name in NAMES if key_of(name) not in writer] == ["clip05"]
        writer.put(key_of("clip05"), values_of("clip05", 6))
    assert not validate_store(store, deep=True).damaged


def test_every_flipped_bit_of_a_shard_is_found(store: FeatureStore) -> None:
    """All of a shard but alignment holes: structure, index, values, metadata."""
    [shard] = [ref.path for ref in store.index(VISION.fingerprint).shards]
    whole = shard.read_bytes()
    rng = np.random.default_rng(5)
    missed = []
    for offset in rng.choice(len(whole), 60, replace=False).tolist():
        damage(shard, offset)
        if not validate_store(store, deep=True).damaged:
            missed.append(offset)
        damage(shard, offset)
    assert shard.read_bytes() == whole
    assert all(whole[offset] == 0 for offset in missed)
    assert len(missed) < 25
    # What was missed belongs to no array and to no structure: changing it changes nothing that is read.
    from msakit.feature_store.disk.hdf5 import open_safely

    with open_safely(shard) as file:
        root = file.root
        extents = [file.extent(root, "keys")]
        for name in ("vision", "meta"):
            node = file.group(file.group(root, "fields"), name)
            extents += [file.extent(node, part) for part in ("values", "offsets", "xxh3")]
    inside = [o for o in missed for e in extents if e.offset <= o < e.offset + e.num_bytes]
    assert inside == []


@pytest.mark.parametrize("size", [0, 10, 3000, -1])
def test_a_truncated_shard_is_reported_and_put_aside(store: FeatureStore, size: int) -> None:
    [shard] = [ref.path for ref in store.index(AUDIO.fingerprint).shards]
    os.truncate(shard, size if size >= 0 else shard.stat().st_size - 1)
    store.refresh()
    with pytest.raises(StoreError, match="not a whole file"):
        store.index(AUDIO.fingerprint)
    result = validate_store(store, repair=True)
    assert [f.code for f in result.findings if f.level == "error"] == ["shard", "join"]
    assert len(result.repaired) >= 1
    assert not shard.exists()


def test_a_damaged_index_is_only_a_cache(store: FeatureStore) -> None:
    [cached] = (store.path / "fs" / AUDIO.fingerprint / "index").iterdir()
    damage(cached, 60)
    store.refresh()
    assert len(store.index(AUDIO.fingerprint)) == 12
    damage(cached, 60) if cached.exists() else None
    assert not validate_store(store).damaged


def test_an_edited_feature_set_is_refused(store: FeatureStore) -> None:
    document = store.path / "fs" / AUDIO.fingerprint / "FEATURESET.json"
    document.write_bytes(document.read_bytes().replace(b"prosody@1", b"prosody@2"))
    with pytest.raises(StoreError, match="does not hash to its name"):
        store.feature_sets()
    result = validate_store(store)
    assert "feature-set" in {finding.code for finding in result.findings}
    assert result.damaged
