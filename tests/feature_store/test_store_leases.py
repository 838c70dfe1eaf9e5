"""Garbage collection keeps away from feature sets that somebody is filling."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import AUDIO, NAMES, VISION, key_of, values_of

from msakit.feature_store import FeatureStore, StoreError, WriterOptions
from msakit.feature_store.disk.layout import FeatureSetFolder
from msakit.feature_store.upkeep.garbage import collect_garbage, find_garbage


def sweep(store: FeatureStore, grace_s: float = 0.0) -> None:
    """Collect what no table names."""
    opened = FeatureStore.open(store.path)
    collect_garbage(opened, find_garbage(opened, unreferenced=True, grace_s=grace_s))


@pytest.mark.parametrize("locking", ["flock", "none"])
def test_sealed_samples_of_a_living_writer_stay(tmp_path: Path, locking: str) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO, WriterOptions(shard_samples=4, locking=locking)) as writer:
        for name in NAMES[:4]:
            writer.put(key_of(name), values_of(name, 6))
        assert list(store.path.rglob("*.wal")) == [], "between two seals there is no journal"
        garbage = find_garbage(store, unreferenced=True, grace_s=0.0)
        assert garbage.paths == []
        assert "being filled by" in garbage.kept[store.path / "fs" / AUDIO.fingerprint]
        sweep(store)
    assert len(FeatureStore.open(store.path).index(AUDIO.fingerprint)) == 4
    sweep(store)
    assert FeatureStore.open(store.path).fingerprints() == []


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    pid = os.fork()
    if pid == 0:
        store.writer(AUDIO)
        os._exit(0)
    os.waitpid(pid, 0)
    assert list(store.path.rglob("leases/*")) != []
    sweep(store)
    assert FeatureStore.open(store.path).fingerprints() == []


def test_a_lease_of_another_machine_is_respected_until_it_is_deleted(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO):
        pass
    lease = store.path / "fs" / AUDIO.fingerprint / "leases" / f"{'0' * 32}.json"
    lease.write_text('{"host":"elsewhere","boot_id":"another","pid":1,"process_start":"1"}')
    garbage = find_garbage(store, unreferenced=True, grace_s=0.0)
    assert f"a process of elsewhere (if it is dead, delete {lease})" in str(garbage.kept)
    lease.unlink()
    assert len(find_garbage(store, unreferenced=True, grace_s=0.0).paths) == 1


def test_what_changed_a_moment_ago_is_kept_for_a_while(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as writer:
        writer.put(key_of("a"), values_of("a", 6))
    sweep(store, grace_s=3600.0)
    assert FeatureStore.open(store.path).fingerprints() == [AUDIO.fingerprint]
    with pytest.raises(StoreError, match="grace period"):
        find_garbage(store, grace_s=float("nan"))


def test_a_feature_set_that_came_into_use_since_it_was_listed_stays(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as writer:
        writer.put(key_of("a"), values_of("a", 6))
    garbage = find_garbage(store, unreferenced=True, grace_s=0.0)
    assert len(garbage.paths) == 1
    with store.writer(AUDIO):
        collect_garbage(store, garbage)
    assert garbage.paths == []
    assert len(FeatureStore.open(store.path).index(AUDIO.fingerprint)) == 1


def test_everything_an_import_fills_is_held_until_its_table_is_written(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.hold([AUDIO, VISION]):
        with store.writer(AUDIO) as writer:
            writer.put(key_of("a"), values_of("a", 6))
        sweep(store)
        assert sorted(FeatureStore.open(store.path).fingerprints()) == sorted(
            [AUDIO.fingerprint, VISION.fingerprint]
        )
    sweep(store)
    assert FeatureStore.open(store.path).fingerprints() == []


def test_writers_and_sweeps_at_once_lose_nothing(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    stop = threading.Event()

    def sweep_on() -> None:
        while not stop.is_set():
            sweep(store)

    sweeper = threading.Thread(target=sweep_on)
    sweeper.start()
    try:
        for number in range(10):
            with FeatureStore.open(store.path).writer(AUDIO, WriterOptions(shard_samples=2)) as writer:
                for name in NAMES[:5]:
                    writer.put(key_of(f"{name}{number}"), values_of(name, 6))
                names = [key_of(f"{name}{number}") for name in NAMES[:4]]  # sealed already
                index = FeatureStore.open(store.path).index(AUDIO.fingerprint)
                keys = np.frombuffer(b"".join(names), np.uint8).reshape(-1, 16)
                assert (index.find(keys) >= 0).all()
    finally:
        stop.set()
        sweeper.join()


def test_a_folder_without_its_empty_folders_is_whole(store: FeatureStore) -> None:
    """Git keeps no empty folders."""
    from msakit.feature_store.upkeep.maintenance import compact, remove_dataset

    for path in sorted(store.path.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    copy = FeatureStore.open(store.path)
    copy.write_table("more", copy.table("demo"))
    with copy.writer(AUDIO) as one, copy.writer(AUDIO) as two:
        one.put(key_of("x"), values_of("x", 6))
        two.put(key_of("x"), values_of("x", 6))
    assert not (FeatureSetFolder(store.path / "fs" / AUDIO.fingerprint).retired).exists()
    [report] = compact(copy)
    assert report.num_duplicates == 1
    (store.path / "tmp").rmdir()
    remove_dataset(copy, "more")
    assert copy.datasets() == ["demo"]
