"""Many writers and readers at once, and readers in other processes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_store import crash_harness as harness
from feature_store.known_stores import AUDIO, NAMES, key_of, values_of
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msakit.feature_store import FeatureReader, FeatureStore, Sample, SampleTable
from msakit.feature_store.collate import read_tensors

Tensors = tuple[Tensor, Tensor]


def wait_for(pids: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def test_writers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    place = tmp_path / "store"
    FeatureStore.create(place)
    pids = [harness.fork_worker(place, tmp_path / f"acknowledged.{n}", str(n), 60) for n in range(4)]
    assert wait_for(pids) == [0, 0, 0, 0]
    tally = harness.Tally()
    harness.examine(place, tmp_path, tally)
    assert (tally.lost, tally.wrong, tally.num_duplicates) == ([], [], 0)
    assert len(FeatureStore.open(place).index(harness.FEATURE_SET.fingerprint)) == 240


def test_writers_of_the_same_samples_agree(tmp_path: Path) -> None:
    place = tmp_path / "store"
    FeatureStore.create(place)
    pids = [harness.fork_worker(place, tmp_path / f"acknowledged.{n}", "same", 50) for n in range(3)]
    assert wait_for(pids) == [0, 0, 0]
    index = FeatureStore.open(place).index(harness.FEATURE_SET.fingerprint)
    assert len(index) == 50
    assert index.conflicts == ()


def test_different_values_under_one_key_are_reported(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as one, store.writer(AUDIO) as other:
        one.put(key_of("a"), values_of("a", 6))
        other.put(key_of("a"), values_of("b", 6))
    index = store.index(AUDIO.fingerprint)
    assert index.num_duplicates == 1
    assert index.conflicts == (key_of("a"),)


def test_the_choice_between_duplicates_does_not_depend_on_the_cache(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as one, store.writer(AUDIO) as other:
        one.put(key_of("a"), values_of("a", 6))
        one.flush(seal=True)
        FeatureStore.open(store.path).index(AUDIO.fingerprint)  # caches the first shard alone
        other.put(key_of("a"), values_of("b", 6))
    incremental = FeatureStore.open(store.path).index(AUDIO.fingerprint)
    for path in (store.path / "fs" / AUDIO.fingerprint / "index").iterdir():
        path.unlink()
    fresh = FeatureStore.open(store.path).index(AUDIO.fingerprint)
    chosen = [index.shards[index.shard[0]].path for index in (incremental, fresh)]
    assert chosen[0] == chosen[1] == min(ref.path for ref in fresh.shards)


def test_readers_follow_a_living_writer(tmp_path: Path) -> None:
    place = tmp_path / "store"
    FeatureStore.create(place)
    pid = harness.fork_worker(place, tmp_path / "acknowledged.0", "0", 400)
    reader, seen = FeatureStore.open(place), [0]
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        reader.refresh()
        if harness.FEATURE_SET.fingerprint in reader.feature_sets():
            seen.append(len(reader.index(harness.FEATURE_SET.fingerprint)))
            assert harness.compare_all(reader, {}) == []
    assert seen == sorted(seen)
    reader.refresh()
    assert len(reader.index(harness.FEATURE_SET.fingerprint)) == 400


def test_tables_written_at_once_get_different_versions(store: FeatureStore) -> None:
    def write() -> int:
        pid = os.fork()
        if pid == 0:
            for _ in range(5):
                FeatureStore.open(store.path).write_table("demo", store.table("demo"))
            os._exit(0)
        return pid

    assert wait_for([write() for _ in range(3)]) == [0, 0, 0]
    assert store.versions("demo") == list(range(1, 17))
    assert store.table("demo", 7).id == store.table("demo").id


class Batches(Dataset[Tensors]):
    """Whole batches of a reader, as a loader with workers should get them."""

    def __init__(self, reader: FeatureReader, size: int) -> None:
        self.reader, self.size = reader, size

    def __len__(self) -> int:
        return len(self.reader) // self.size

    def __getitem__(self, index: int) -> Tensors:
        return read_tensors(self.reader, range(index * self.size, (index + 1) * self.size))


def first(items: list[Tensors]) -> Tensors:
    return items[0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_workers_read_the_same(store: FeatureStore, method: str) -> None:
    reader = store.reader(store.table("demo"), "audio")
    expected = reader.read(range(4)).values  # maps are open before the workers start
    loader = DataLoader(
        Batches(reader, 4), batch_size=1, num_workers=2, collate_fn=first, multiprocessing_context=method
    )
    batches = list(loader)
    assert torch.equal(batches[0][0], torch.from_numpy(expected))
    assert torch.cat([lengths for _, lengths in batches]).tolist() == [len(values_of(n, 6)) for n in NAMES]


def test_an_open_reader_outlives_compaction_and_garbage_collection(store: FeatureStore) -> None:
    from msakit.feature_store.upkeep.garbage import collect_garbage, find_garbage
    from msakit.feature_store.upkeep.maintenance import compact

    with store.writer(AUDIO) as writer:
        writer.put(key_of("late"), values_of("late", 6))
    table = SampleTable.from_samples(
        [Sample("late", "test", features={"audio": key_of("late")})], {"audio": AUDIO.fingerprint}
    )
    store.refresh()
    reader = store.reader(table, "audio")
    np.testing.assert_array_equal(reader.read_one(0), values_of("late", 6))
    compact(store)
    collect_garbage(store, find_garbage(store, grace_s=0.0))
    np.testing.assert_array_equal(reader.read_one(0), values_of("late", 6))
    np.testing.assert_array_equal(store.reader(table, "audio").read_one(0), values_of("late", 6))
