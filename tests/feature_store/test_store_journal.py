"""What the journal scanner makes of torn, damaged and foreign bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import AUDIO, key_of, values_of

from msakit.feature_store import FeatureStore, StoreError, StoreFormatError
from msakit.feature_store.disk.journal import Journal, pack_record, scan_journal, seed_of

HEX = "0123456789abcdef" * 2


def make_journal(folder: Path, num_records: int) -> tuple[bytes, str]:
    """Return the bytes of a journal of records {"n": i} with payloads of i bytes, and its id."""
    (folder / "wal").mkdir()
    journal = Journal.create(folder, folder / "wal", HEX, locking="flock", provenance={})
    for number in range(num_records):
        journal.append({"n": number}, [bytes([number]) * number])
    journal.close()
    return journal.path.read_bytes(), journal.journal_id


def numbers(data: bytes, journal_id: str) -> list[int]:
    return [record.header["n"] for record in scan_journal(data, journal_id).records]


def test_every_truncation_keeps_the_whole_records(tmp_path: Path) -> None:
    data, journal_id = make_journal(tmp_path, 6)
    stops = [record.payload_stop for record in scan_journal(data, journal_id).records]
    first = scan_journal(data, journal_id).records[0].payload_start - 24 - len(b'{"n":0}')
    for size in range(first, len(data)):
        scan = scan_journal(data[:size], journal_id)
        whole = sum(stop <= size for stop in stops)
        assert [record.header["n"] for record in scan.records] == list(range(whole))
        assert scan.damaged_bytes == 0
        assert scan.torn_bytes == size - (stops[whole - 1] if whole else first)


def test_a_flipped_bit_costs_one_record_and_is_counted(tmp_path: Path) -> None:
    data, journal_id = make_journal(tmp_path, 6)
    records = scan_journal(data, journal_id).records
    start, stop = records[2].payload_stop, records[3].payload_stop
    for position in range(start, stop):
        for bit in (0, 7):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            scan = scan_journal(bytes(flipped), journal_id)
            assert [record.header["n"] for record in scan.records] == [0, 1, 2, 4, 5]
            assert scan.damaged_bytes == stop - start


def test_a_record_inside_a_payload_never_counts(tmp_path: Path) -> None:
    data, journal_id = make_journal(tmp_path, 1)
    embedded = b"".join(bytes(part) for part in pack_record({"n": 99}, [b"x"], seed_of("f" * 32)))
    outer = b"".join(bytes(part) for part in pack_record({"n": 1}, [embedded], seed_of(journal_id)))
    assert numbers(data + outer, journal_id) == [0, 1]
    torn = bytearray(data + outer)
    torn[-1] ^= 1
    assert numbers(bytes(torn), journal_id) == [0]


@pytest.mark.parametrize("data", [b"", b"MSJ1", b"\0" * 100, os.urandom(500)])
def test_what_is_no_journal_is_refused(data: bytes) -> None:
    with pytest.raises(StoreFormatError, match="does not begin with its own header"):
        scan_journal(data, HEX)


def test_another_version_says_what_to_install() -> None:
    header = {"kind": "journal", "version": "2.0", "id": HEX}
    data = b"".join(bytes(part) for part in pack_record(header, [], seed_of(HEX)))
    with pytest.raises(StoreFormatError, match=r"'2\.0' is unknown") as caught:
        scan_journal(data, HEX)
    assert "pip install" in caught.value.hint


def leave_journal(store: FeatureStore, names: list[str]) -> Path:
    """Write samples and vanish without sealing, as a killed writer does."""
    writer = store.writer(AUDIO)
    for name in names:
        writer.put(key_of(name), values_of(name, 6), meta={"name": name})
    journal = writer._journal
    assert journal is not None
    journal.close()
    return journal.path


def test_a_dead_writers_journal_is_adopted(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a", "b"])
    with store.writer(AUDIO) as writer:
        assert writer.recovery.sealed == [path.name]
        assert writer.recovery.num_samples == 2
        assert key_of("a") in writer
        assert key_of("b") in writer
    assert not path.exists()


def test_a_living_writers_journal_is_left_alone(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as first:
        first.put(key_of("a"), values_of("a", 6))
        with store.writer(AUDIO) as second:
            assert len(second.recovery.alive) == 1
            assert second.recovery.sealed == []
            assert key_of("a") not in second


def test_a_damaged_journal_is_kept_and_its_good_records_sealed(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a", "b", "c"])
    data = bytearray(path.read_bytes())
    record = scan_journal(bytes(data), path.stem).records[1]
    data[record.payload_start] ^= 1
    path.write_bytes(data)
    with store.writer(AUDIO) as writer:
        assert writer.recovery.damaged_bytes > 0
        assert [key_of(name) in writer for name in "abc"] == [True, False, True]
    assert [item.name for item in (path.parents[1] / "quarantine").iterdir()] == [path.name]


def test_the_holes_of_a_sparse_journal_are_not_read(tmp_path: Path) -> None:
    """8 TB that take no room: read byte by byte they would take days."""
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a", "b"])
    whole = path.read_bytes()
    last = scan_journal(whole, path.stem).records[-1]
    start_of_last = whole.rindex(b"MSJ1", 0, last.payload_start)
    os.truncate(path, 8 << 40)
    with path.open("r+b") as file:
        file.seek(start_of_last)
        file.write(bytes(len(whole) - start_of_last))  # the last record lies behind the hole instead
        file.seek(8 << 40)
        file.write(whole[start_of_last:])
    with store.writer(AUDIO) as writer:
        assert [key_of(name) in writer for name in "ab"] == [True, True]
        assert writer.recovery.damaged_bytes == (8 << 40) - start_of_last


def test_garbage_in_the_journal_folder_is_put_aside(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a"])
    (path.parent / f"{HEX}.wal").write_bytes(b"not a journal")
    (path.parent / f"{HEX[::-1]}.wal").touch()
    with store.writer(AUDIO) as writer:
        assert sorted(Path(name).name for name in writer.recovery.quarantined) == [
            f"{HEX}.wal",
            f"{HEX[::-1]}.wal",
        ]
        assert key_of("a") in writer


def test_a_journal_of_another_feature_set_is_not_sealed_here(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a"])
    other = tmp_path / "s" / "fs" / store.writer(AUDIO.__class__("audio", "b@1", 6)).feature_set.fingerprint
    target = other / "wal" / path.name
    target.write_bytes(path.read_bytes())
    with store.writer(AUDIO.__class__("audio", "b@1", 6)) as writer:
        assert writer.recovery.quarantined == [str(other / "quarantine" / path.name)]


def test_a_foreign_journal_waits_for_the_user(tmp_path: Path) -> None:
    from msakit.feature_store.upkeep.maintenance import recover

    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a"])
    data, owner = path.read_bytes(), scan_journal(path.read_bytes(), path.stem).owner
    old = b"".join(bytes(part) for part in pack_record(owner, [], seed_of(path.stem)))
    changed = owner | {"host": "elsewhere", "boot_id": "another"}
    new = b"".join(bytes(part) for part in pack_record(changed, [], seed_of(path.stem)))
    assert data.startswith(old)
    path.write_bytes(new + data[len(old) :])
    with store.writer(AUDIO) as writer:
        assert writer.recovery.foreign == [path.name]
        assert key_of("a") not in writer
    assert recover(store, foreign_older_than_s=600)[AUDIO.fingerprint].foreign == [path.name]
    os.utime(path, (0, 0))
    assert recover(store, foreign_older_than_s=600)[AUDIO.fingerprint].sealed == [path.name]
    assert len(store.index(AUDIO.fingerprint)) == 1


def test_without_locks_the_owners_process_decides(tmp_path: Path) -> None:
    from msakit.feature_store import WriterOptions

    store = FeatureStore.create(tmp_path / "s")
    options = WriterOptions(locking="none", wal_dir=tmp_path / "local")
    pid = os.fork()
    if pid == 0:
        writer = store.writer(AUDIO, options)
        writer.put(key_of("dead"), values_of("dead", 6))
        os._exit(0)
    os.waitpid(pid, 0)
    with store.writer(AUDIO, options) as first:
        assert len(first.recovery.sealed) == 1
        first.put(key_of("alive"), values_of("alive", 6))
        with store.writer(AUDIO, options) as second:
            assert len(second.recovery.alive) == 1
            assert key_of("dead") in second
            assert key_of("alive") not in second
    assert list((tmp_path / "s").rglob("*.wal")) == []


def test_journals_kept_elsewhere_are_put_aside_there(tmp_path: Path) -> None:
    from msakit.feature_store import WriterOptions

    store = FeatureStore.create(tmp_path / "s")
    local = tmp_path / "local" / AUDIO.fingerprint
    local.mkdir(parents=True)
    (local / f"{HEX}.wal").write_bytes(b"not a journal")
    being_made = local / f"{HEX}.somehost.1.wal"
    being_made.write_bytes(b"a writer is about to rename this")
    with store.writer(AUDIO, WriterOptions(wal_dir=tmp_path / "local")) as writer:
        assert writer.recovery.quarantined == [str(local / "quarantine" / f"{HEX}.wal")]
    assert [path.name for path in (local / "quarantine").iterdir()] == [f"{HEX}.wal"]
    assert being_made.exists()


def test_a_crash_between_commit_and_removal_doubles_nothing(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a", "b"])
    data = path.read_bytes()
    with store.writer(AUDIO):
        pass
    path.write_bytes(data)
    with store.writer(AUDIO):
        pass
    store.refresh()
    index = store.index(AUDIO.fingerprint)
    assert (len(index), index.num_duplicates, len(index.shards)) == (2, 0, 1)
    assert not path.exists()


def test_a_journal_that_outgrew_its_shard_loses_nothing(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    path = leave_journal(store, ["a", "b"])
    whole = path.read_bytes()
    second = scan_journal(whole, path.stem).records[1]
    path.write_bytes(whole[: scan_journal(whole, path.stem).records[0].payload_stop])
    with store.writer(AUDIO):
        pass
    assert second.payload_stop == len(whole)
    path.write_bytes(whole)
    with store.writer(AUDIO) as writer:
        assert key_of("a") in writer
        assert key_of("b") in writer


def test_an_inherited_writer_refuses_to_write(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    read_end, write_end = os.pipe()
    with store.writer(AUDIO) as writer:
        writer.put(key_of("a"), values_of("a", 6))
        pid = os.fork()
        if pid == 0:
            try:
                writer.put(key_of("b"), values_of("b", 6))
                os.write(write_end, b"stored")
            except StoreError as error:
                os.write(write_end, json.dumps(error.message).encode())
            writer.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert b"another process" in os.read(read_end, 200)
        assert writer.put(key_of("b"), values_of("b", 6)) is True
    store.refresh()
    assert len(store.index(AUDIO.fingerprint)) == 2
    np.testing.assert_array_equal(store.index(AUDIO.fingerprint).find(np.zeros((1, 16), np.uint8)), [-1])
