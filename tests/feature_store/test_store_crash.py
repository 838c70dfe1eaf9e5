"""Nothing acknowledged is lost: a quick selection of `make crash`."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from feature_store import crash_harness as harness
from feature_store import fault_injection as injection

from msakit.feature_store import FeatureStore

needs_strace = pytest.mark.skipif(not injection.strace_works(), reason="strace is not available here")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with FeatureStore.create(tmp_path / "store").writer(harness.FEATURE_SET):
        return tmp_path / "store"


def assert_clean(tally: harness.Tally) -> None:
    assert tally.lost == []
    assert tally.wrong == []
    assert tally.acknowledged > 0


def test_a_writer_killed_at_random_loses_nothing(place: Path) -> None:
    tally, rng = harness.Tally(), random.Random(7)
    for _ in range(8):
        tally.kills += harness.kill_randomly(place, place.parent, rng, num_workers=1, longest_s=0.2)
        harness.examine(place, place.parent, tally)
    assert tally.kills == 8
    assert tally.num_duplicates == 0
    assert_clean(tally)


def test_three_writers_killed_together_lose_nothing(place: Path) -> None:
    tally, rng = harness.Tally(), random.Random(11)
    for _ in range(3):
        tally.kills += harness.kill_randomly(place, place.parent, rng, num_workers=3, longest_s=0.2)
        harness.examine(place, place.parent, tally)
    assert_clean(tally)


@needs_strace
@pytest.mark.parametrize(
    ("call", "number"),
    [("writev", 20), ("pwritev2", 1), ("fsync", 2), ("link", 1), ("unlink", 1), ("unlink", 2)],
)
def test_a_kill_at_a_system_call_loses_nothing(place: Path, call: str, number: int) -> None:
    acknowledged = place.parent / "acknowledged.0"
    status = injection.run_with_fault(place, acknowledged, injection.Fault(call, number, "KILL"), 45)
    assert status == -9
    tally = harness.Tally()
    harness.examine(place, place.parent, tally)
    assert_clean(tally)


@needs_strace
@pytest.mark.parametrize(("call", "error"), [("pwritev2", "ENOSPC"), ("fsync", "EIO"), ("writev", "ENOSPC")])
def test_a_failing_disk_is_an_ordinary_error(place: Path, call: str, error: str) -> None:
    acknowledged = place.parent / "acknowledged.0"
    number = {"pwritev2": 1, "fsync": 2, "writev": 9}[call]
    status = injection.run_with_fault(place, acknowledged, injection.Fault(call, number, error), 45)
    assert status == 3, "the worker must report a StoreError, not crash"
    tally = harness.Tally()
    harness.examine(place, place.parent, tally)
    assert_clean(tally)


@needs_strace
def test_a_shard_is_durable_before_its_journal_goes(place: Path) -> None:
    lines = injection.trace(place, place.parent / "acknowledged.0", place.parent / "log", 40)

    def position(start: int, call: str, *parts: str) -> int:
        for index in range(start, len(lines)):
            if lines[index].startswith(f"{call}(") and all(part in lines[index] for part in parts):
                return index
        raise AssertionError(f"no {call} with {parts} after line {start}")

    synced_journal = position(0, "fdatasync", "/wal/", ".wal")
    written = position(synced_journal, "pwritev2", "/tmp/", ".h5")
    synced = position(written, "fsync", "/tmp/", ".h5")
    linked = position(synced, "link", "/tmp/", "/shards/")
    folder = position(linked, "fsync", "/shards>")
    removed = position(folder, "unlink", "/wal/", ".wal")
    order = [synced_journal, written, synced, linked, folder, removed]
    assert order == sorted(order)
    assert not any(line.startswith("unlink(") and "/wal/" in line for line in lines[:folder])
    assert not any(line.startswith("pwritev2(") for line in lines[synced:linked]), "written after its fsync"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_file_system_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with FeatureStore.create(small / "store").writer(harness.FEATURE_SET):
            pass
        pid = harness.fork_worker(small / "store", tmp_path / "acknowledged.0", "0", 100_000)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        subprocess.run(["mount", "-o", "remount,size=32m", str(small)], check=True)
        tally = harness.Tally()
        harness.examine(small / "store", tmp_path, tally)
        assert_clean(tally)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
