"""Creating a store: any number of processes may race, and a kill leaves what the next one finishes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from msakit.feature_store import FeatureStore, StoreError

CREATING = ("mkdir", "open", "fsync", "link", "unlink")


def test_processes_that_create_one_store_at_once_all_get_it(tmp_path: Path) -> None:
    codes = []
    for round_number in range(12):
        go_read, go_write = os.pipe()
        pids = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                os.read(go_read, 1)
                try:
                    FeatureStore.open_or_create(tmp_path / f"store{round_number}")
                except BaseException:  # noqa: BLE001 - the child must never return into the parent's code
                    os._exit(1)
                os._exit(0)
            pids.append(pid)
        os.write(go_write, b"....")
        codes += [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        os.close(go_read)
        os.close(go_write)
    assert codes == [0] * 48


@pytest.mark.parametrize("call", CREATING)
def test_a_kill_while_creating_leaves_what_can_be_finished(tmp_path: Path, call: str) -> None:
    kills = 0
    for number in range(20):
        place = tmp_path / f"store{number}"
        pid = os.fork()
        if pid == 0:
            plain, made = getattr(os, call), 0

            def counted(*arguments: object, **options: object) -> object:
                nonlocal made
                made += 1
                if made > number:  # noqa: B023 - the child makes no further round
                    os.kill(os.getpid(), signal.SIGKILL)
                return plain(*arguments, **options)  # noqa: B023

            setattr(os, call, counted)
            FeatureStore.open_or_create(place)
            os._exit(0)
        if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
            break
        kills += 1
        FeatureStore.open_or_create(place)
        assert FeatureStore.open(place).datasets() == []
        assert call == "unlink" or list(place.glob("*.json")) == [place / "STORE.json"]
    assert kills > 0


def test_a_folder_of_something_else_is_not_turned_into_a_store(tmp_path: Path) -> None:
    for name in ("notes.txt", "0" * 32 + ".json", "fs/data"):
        place = tmp_path / name.replace("/", "-")
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text("mine")
        for make in (FeatureStore.create, FeatureStore.open_or_create):
            with pytest.raises(StoreError, match="not empty"):
                make(place)
        assert [path.name for path in place.rglob("*") if path.is_file()] == [Path(name).name]


def test_only_one_creates(tmp_path: Path) -> None:
    FeatureStore.create(tmp_path / "store")
    with pytest.raises(StoreError, match="is a store already"):
        FeatureStore.create(tmp_path / "store")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write"):
        FeatureStore.create(tmp_path / "file")
