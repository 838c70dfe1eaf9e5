"""Random bytes and random damage against the journal scanner and the file reader (`make fuzz`)."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import NAMES, fill
from hypothesis import given, settings
from hypothesis import strategies as st

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.disk.journal import MAGIC, PREFIX, pack_record, scan_journal, seed_of

JOURNAL = "5" * 32
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))

payloads = st.lists(st.binary(max_size=300), max_size=12)
damages = st.lists(st.tuples(st.integers(0, 1 << 30), st.binary(min_size=1, max_size=40)), max_size=5)


def journal_of(contents: list[bytes]) -> tuple[bytes, list[int]]:
    """Return a journal of one record a content, and where each record ends."""
    owner = {"kind": "journal", "version": "1.0", "id": JOURNAL}
    records = [pack_record(owner, [], seed_of(JOURNAL))]
    records += [
        pack_record({"n": number}, [content], seed_of(JOURNAL)) for number, content in enumerate(contents)
    ]
    joined = [b"".join(bytes(part) for part in record) for record in records]
    return b"".join(joined), np.cumsum([len(record) for record in joined]).tolist()


def overwrite(data: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(data)
    for position, content in damage:
        start = position % max(1, len(changed))
        changed[start : start + len(content)] = content[: len(changed) - start]
    return bytes(changed)


@settings(max_examples=EXAMPLES, deadline=None)
@given(contents=payloads, damage=damages, size=st.integers(0, 1 << 30))
def test_what_a_scan_returns_was_written(
    contents: list[bytes], damage: list[tuple[int, bytes]], size: int
) -> None:
    data, stops = journal_of(contents)
    changed = overwrite(data, damage)[: len(data) - size % 40]
    try:
        scan = scan_journal(changed, JOURNAL)
    except StoreError:
        assert changed[: stops[0]] != data[: stops[0]], "an undamaged header was refused"
        return
    for record in scan.records:
        number = record.header["n"]
        assert changed[record.payload_start : record.payload_stop] == contents[number]
    found = {record.header["n"] for record in scan.records}
    intact = {
        number
        for number in range(len(contents))
        if changed[stops[number] : stops[number + 1]] == data[stops[number] : stops[number + 1]]
    }
    assert intact <= found, "a record nobody touched was lost"


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=2000))
def test_noise_is_never_a_journal(data: bytes) -> None:
    with pytest.raises(StoreError):
        scan_journal(data, JOURNAL)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_a_forged_journal_does_not_take_for_ever(seed: int) -> None:
    data, _ = journal_of([])
    rng = np.random.default_rng(seed)
    forged = b"".join(
        PREFIX.pack(MAGIC, 10, int(rng.integers(0, 200_000)), int(rng.integers(1 << 60)))
        for _ in range(10_000)
    )
    start = time.process_time()
    assert scan_journal(data + forged, JOURNAL).records == []
    assert time.process_time() - start < 2.0


@pytest.fixture(scope="module")
def whole() -> tuple[bytes, list[np.ndarray]]:
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore.create(Path(folder) / "s")
        store.write_table("demo", fill(store, NAMES))
        store.export_single_file(Path(folder) / "s.h5")
        reader = store.reader(store.table("demo"), "audio")
        return (Path(folder) / "s.h5").read_bytes(), [reader.read_one(row) for row in range(len(NAMES))]


@settings(max_examples=EXAMPLES, deadline=None)
@given(damage=damages.filter(bool), size=st.integers(0, 3))
def test_a_damaged_file_is_refused_or_reads_right(
    whole: tuple[bytes, list[np.ndarray]], damage: list[tuple[int, bytes]], size: int
) -> None:
    data, expected = whole
    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        file.write(overwrite(data, damage)[: len(data) - size])
        file.flush()
        try:
            store = FeatureStore.open(file.name)
            table = store.table("demo")
            reader = store.reader(table, "audio")
            values = [reader.read_one(row) for row in range(len(table))]
        except StoreError:
            return
        assert table.id == tuple(NAMES)
        for ours, theirs in zip(values, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
