"""Pipes, devices, bombs and leftovers where a store's files should be: refused at once, by name."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import xxhash
from feature_store.known_stores import AUDIO, NAMES, key_of, values_of

from msakit.feature_store import FeatureStore, StoreError, digest_file
from msakit.feature_store.disk.files import host_name
from msakit.feature_store.upkeep.maintenance import compact, recover
from msakit.feature_store.upkeep.selection import read_ids
from msakit.feature_store.upkeep.validation import validate_store

TABLE = "tables/demo/000001.h5"
FOLDER = f"fs/{AUDIO.fingerprint}"


def replace_by(path: Path, what: str) -> None:
    """Put a pipe or an endless device in the place of a file."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


def read_all(path: Path) -> None:
    """Open a store and read it."""
    opened = FeatureStore.open(path)
    opened.reader(opened.table("demo"), "audio").read([0])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize(
    "name", ["STORE.json", f"{FOLDER}/FEATURESET.json", "tables/demo/000001.h5", "shard"]
)
def test_what_is_no_regular_file_is_refused(store: FeatureStore, name: str, what: str) -> None:
    [shard] = (store.path / FOLDER / "shards").iterdir()
    path = shard if name == "shard" else store.path / name
    replace_by(path, what)
    with pytest.raises(StoreError, match="not a regular file") as caught:
        read_all(store.path)
    assert str(path) in caught.value.message


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_no_reader_of_a_single_file_waits(tmp_path: Path, what: str) -> None:
    replace_by(tmp_path / "x", what)
    for read in (FeatureStore.open, digest_file, read_ids):
        with pytest.raises(StoreError, match="not a regular file"):
            read(tmp_path / "x")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_a_pipe_as_a_journal_is_put_aside(store: FeatureStore, what: str) -> None:
    replace_by(store.path / FOLDER / "wal" / f"{'0' * 32}.wal", what)
    with store.writer(AUDIO) as writer:
        assert len(writer.recovery.quarantined) == 1
        writer.put(key_of("new"), values_of("new", 6))
    assert "not a regular file" in str(validate_store(store, deep=True).findings)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["endless", "pipe", "sparse", "forged"])
def test_a_cached_index_costs_no_more_than_its_shards(store: FeatureStore, kind: str) -> None:
    folder = store.path / FOLDER / "index"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    path = folder / f"{'0' * 32}.idx"
    if kind == "sparse":
        path.touch()
        os.truncate(path, 8 << 30)
    elif kind == "forged":
        head = b'{"version":2,"featureset":"%s","n":1000000000000,"shards":[],"provenance":[]}' % (
            AUDIO.fingerprint.encode()
        )
        content = b"MSKI" + len(head).to_bytes(4, "little") + head
        path.with_name(f"{xxhash.xxh3_128_hexdigest(content)}.idx").write_bytes(content)
    else:
        replace_by(path, "pipe" if kind == "pipe" else "device")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(FeatureStore.open(store.path).index(AUDIO.fingerprint)) == len(NAMES)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "kilobytes"


def test_a_sparse_file_with_a_huge_structure_is_refused(tmp_path: Path) -> None:
    from msakit.feature_store.disk.trailer import FOOTER, MAGIC, SPAN

    path = tmp_path / "sparse.h5"
    path.touch()
    os.truncate(path, 8 << 30)
    with path.open("ab") as file:
        file.write(SPAN.pack(0, 8 << 30) + FOOTER.pack(1, bytes(16), MAGIC))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match=r"sparse\.h5"):
        FeatureStore.open(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "kilobytes"


@pytest.mark.parametrize("content", ["{}", "[]", '{"old":1,"new":2}', '{"old":["a"]}', "["])
def test_a_tombstone_that_says_nothing_is_named_and_can_be_put_aside(
    store: FeatureStore, content: str
) -> None:
    path = store.path / FOLDER / "retired" / f"{'0' * 32}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(StoreError, match="0" * 32):
        compact(FeatureStore.open(store.path))
    assert "tombstone" in [item.code for item in validate_store(store).findings]
    assert validate_store(store, repair=True).repaired == [
        str(store.path / FOLDER / "quarantine" / path.name)
    ]
    assert not validate_store(store, deep=True).damaged


def test_what_a_killed_export_left_is_removed_by_the_next(store: FeatureStore, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    dead = tmp_path / f"{'1' * 32}.{host_name()}.{pid}.tmp"
    alive = tmp_path / f"{'2' * 32}.{host_name()}.{os.getpid()}.tmp"
    for path in (dead, alive, tmp_path / "mine.a.1.tmp"):
        path.write_text("x")
    store.export_single_file(tmp_path / "demo.h5")
    assert not dead.exists()
    assert alive.exists()
    assert (tmp_path / "mine.a.1.tmp").exists()


def test_half_removed_folders_are_removed_by_the_next_sweep(store: FeatureStore) -> None:
    from msakit.feature_store.upkeep.garbage import collect_garbage, find_garbage

    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    left = store.path / "tmp" / f"{'1' * 32}.{host_name()}.{pid}.removed"
    (left / "shards").mkdir(parents=True)
    os.utime(left, (0, 0))
    collect_garbage(store, find_garbage(store))
    assert not left.exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda store: recover(store, wal_dir=store.path / "nope"), "there is no folder"),
        (lambda store: recover(store, foreign_older_than_s=-300.0), "not an age"),
        (lambda store: recover(store, foreign_older_than_s=float("nan")), "not an age"),
        (lambda store: compact(store, small_bytes=float("nan")), "not a size"),
        (lambda store: compact(store, small_bytes=-1.0), "not a size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(store: FeatureStore, call, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        call(store)
