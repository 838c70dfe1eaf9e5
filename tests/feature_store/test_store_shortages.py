"""Trouble of the machine fails loudly and changes nothing; only wrong bytes are put aside."""

from __future__ import annotations

import errno
import mmap
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feature_store.known_stores import AUDIO, NAMES, fill, key_of, values_of

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.errors import StoreReadError, StoreWriteError
from msakit.feature_store.upkeep.maintenance import recover
from msakit.feature_store.upkeep.validation import validate_store

LEFT = [f"left{number}" for number in range(20)]


@pytest.fixture
def orphaned(tmp_path: Path) -> FeatureStore:
    """A store with sealed samples and the journal of a dead writer."""
    store = FeatureStore.create(tmp_path / "s")
    store.write_table("demo", fill(store, NAMES))
    pid = os.fork()
    if pid == 0:
        writer = store.writer(AUDIO)
        for name in LEFT:
            writer.put(key_of(name), values_of(name, 6))
        os._exit(0)
    os.waitpid(pid, 0)
    return FeatureStore.open(store.path)


def files(root: Path) -> set[str]:
    """What a store holds, but for caches, leases and what is cleaned up."""
    derived = ("index", "tmp", "leases")
    return {str(path) for path in root.rglob("*") if path.is_file() and path.parent.name not in derived}


def failing(call: Callable[..., Any], number: int, code: int) -> Callable[..., Any]:
    """A system call that fails from the `number`-th time on."""
    made = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made > number:
            raise OSError(code, os.strerror(code))
        return call(*arguments, **options)

    return counted


def error_of(work: Callable[[], object]) -> StoreError | None:
    """What the store says is wrong, if anything."""
    try:
        work()
    except StoreError as error:
        return error
    return None


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EIO])
@pytest.mark.parametrize("call", ["open", "pread", "mmap"])
def test_a_shortage_while_recovering_loses_nothing(
    orphaned: FeatureStore, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    owner = mmap if call == "mmap" else os
    before = files(orphaned.path)
    for number in range(200):
        with monkeypatch.context() as patch:
            patch.setattr(owner, call, failing(getattr(owner, call), number, code))
            error = error_of(lambda: recover(FeatureStore.open(orphaned.path)))
        if error is None:
            break
        assert isinstance(error, StoreReadError | StoreWriteError)
        assert os.strerror(code) in error.message
        assert before <= files(orphaned.path)
    assert number > 1
    index = FeatureStore.open(orphaned.path).index(AUDIO.fingerprint)
    assert len(index) == len(NAMES) + len(LEFT)
    assert list(orphaned.path.rglob("quarantine/*")) == []


def test_recovery_with_seven_descriptors_loses_nothing(orphaned: FeatureStore) -> None:
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7))
        try:
            recover(FeatureStore.open(orphaned.path))
        except StoreError as error:
            os._exit(error.exit_code)
        os._exit(0)
    os.waitpid(pid, 0)
    recover(orphaned)
    assert len(orphaned.index(AUDIO.fingerprint)) == len(NAMES) + len(LEFT)
    assert list(orphaned.path.rglob("quarantine/*")) == []


def test_repair_puts_nothing_aside_because_it_cannot_be_opened(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(store.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing(os.pread, 0, errno.EIO))
        with pytest.raises(StoreReadError, match="Input/output error"):
            validate_store(store, deep=True, repair=True)
    assert files(store.path) == before


def test_a_journal_of_a_newer_version_is_left_alone(orphaned: FeatureStore) -> None:
    from msakit.feature_store.disk.journal import pack_record, scan_journal, seed_of

    [path] = orphaned.path.rglob("*.wal")
    data, journal_id = path.read_bytes(), path.stem
    owner = scan_journal(data, journal_id).owner
    old = b"".join(bytes(part) for part in pack_record(owner, [], seed_of(journal_id)))
    new = b"".join(bytes(part) for part in pack_record(owner | {"version": "2.0"}, [], seed_of(journal_id)))
    path.write_bytes(new + data[len(old) :])
    with orphaned.writer(AUDIO) as writer:
        assert writer.recovery.newer == [path.name]
    assert path.exists()


def test_what_was_put_aside_is_reported_with_what_is_in_it(orphaned: FeatureStore) -> None:
    from msakit.feature_store.disk.journal import scan_journal

    [path] = orphaned.path.rglob("*.wal")
    folder = path.parents[1]
    data = bytearray(path.read_bytes())
    data[scan_journal(bytes(data), path.stem).records[3].payload_start] ^= 1
    path.write_bytes(data)
    [recovery] = [item for item in recover(orphaned).values() if item.quarantined]
    assert recovery.num_samples == len(LEFT) - 1
    (folder / "quarantine" / ("0" * 32 + ".wal")).write_bytes(b"not a journal")
    found = {Path(item.path).name: item for item in validate_store(orphaned).findings}
    assert "bytes of it are damaged" in found[path.name].message
    assert "delete it when you need the space" in found[path.name].message
    assert "does not begin with its own header" in found["0" * 32 + ".wal"].message
    # A journal that was put aside although it is whole comes back by what the finding says.
    (folder / "quarantine" / path.name).unlink()
    with orphaned.writer(AUDIO) as writer:
        writer.put(key_of("late"), values_of("late", 6))
        assert writer._journal is not None
        aside = folder / "quarantine" / writer._journal.path.name
        aside.write_bytes(writer._journal.path.read_bytes())
        [finding] = [item for item in validate_store(orphaned).findings if item.path == str(aside)]
        assert finding.keys == (key_of("late").hex(),)
        assert f"Move it to {folder / 'wal'}" in finding.message
