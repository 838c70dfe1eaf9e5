"""The format as docs/format.md states it: archived files of every version, and h5py alone."""

from __future__ import annotations

import doctest
import hashlib
import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import xxhash

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.upkeep.maintenance import recover
from msakit.feature_store.upkeep.validation import validate_store

ARCHIVE = Path(__file__).with_name("archive")
VERSIONS = sorted(path.name for path in ARCHIVE.iterdir() if path.name.startswith("v"))


def load_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("archive_make", ARCHIVE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load_maker()


def test_there_is_an_archive_of_every_version() -> None:
    assert VERSIONS == ["v1.0"]


@pytest.mark.parametrize("kind", ["store", "single.h5"])
@pytest.mark.parametrize("version", VERSIONS)
def test_archived_stores_read_as_they_were_written(tmp_path: Path, version: str, kind: str) -> None:
    source, path = ARCHIVE / version / kind, tmp_path / kind
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    store = FeatureStore.open(path)
    table = store.table("demo")
    for row, sample in enumerate(make.samples()):
        for name in (
            "id",
            "split",
            "text",
            "label",
            "label_name",
            "speaker",
            "dialogue",
            "utterance",
            "language",
            "start_s",
            "end_s",
            "content",
        ):
            assert getattr(table, name)[row] == getattr(sample, name)
        assert {name: column[row] for name, column in table.extra.items()} == sample.extra
    assert table.attributes == {"source": "archive", "range": [-1, 1.5]}
    assert {name: item.fingerprint for name, item in table.features.items()} == {
        name: feature_set.fingerprint for name, feature_set in make.SETS.items()
    }
    for modality in make.SETS:
        batch = store.reader(table, modality, verify="always").read(range(len(table)))
        for row in range(len(table)):
            there = (modality, row) not in make.ABSENT
            expected = make.values_of(modality, row) if there else np.zeros((0, make.SETS[modality].width))
            assert batch.present[row] == there
            assert batch.lengths[row] == len(expected)
            np.testing.assert_array_equal(batch.values[row, : len(expected)], expected)
    rows = RowSource(store.index(make.SETS["words"].fingerprint)).rows_of(table.features["words"].keys)
    for row, buffer in enumerate(rows.fields["intervals"].buffers):
        np.testing.assert_array_equal(np.frombuffer(buffer).reshape(-1, 2), make.intervals_of(row))
    assert json.loads(bytes(rows.fields["meta"].buffers[2])) == {"number": 2, "who": "archive"}
    assert not validate_store(store, deep=True).damaged


@pytest.mark.parametrize("version", VERSIONS)
def test_archived_journals_are_adopted(tmp_path: Path, version: str) -> None:
    shutil.copytree(ARCHIVE / version / "store", tmp_path / "store")
    store = FeatureStore.open(tmp_path / "store")
    audio = make.SETS["audio"]
    recovery = recover(store, foreign_older_than_s=0.0)[audio.fingerprint]
    assert recovery.num_samples == 1
    key = np.frombuffer(make.key_of(100), np.uint8).reshape(1, 16)
    stored = RowSource(store.index(audio.fingerprint)).rows_of(key).fields["audio"].buffers[0]
    np.testing.assert_array_equal(np.frombuffer(stored, "<f4").reshape(-1, 3), make.values_of("audio", 100))


def test_the_current_release_writes_the_archived_files_again(tmp_path: Path) -> None:
    """Fingerprints, keys and values: shard names are random, and HDF5 may lay out its structure anew."""
    make.main(tmp_path)
    old, new = (FeatureStore.open(path / "single.h5") for path in (ARCHIVE / "v1.0", tmp_path))
    assert list(old.feature_sets()) == list(new.feature_sets())
    for fingerprint in old.feature_sets():
        one, other = old.index(fingerprint), new.index(fingerprint)
        np.testing.assert_array_equal(one.keys, other.keys)
        for name in one.places:
            np.testing.assert_array_equal(one.places[name].hashes, other.places[name].hashes)


def test_the_session_in_the_specification_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    root = ARCHIVE.parents[2]
    monkeypatch.chdir(root)
    result = doctest.testfile(str(root / "docs" / "format.md"), module_relative=False)
    assert result.attempted >= 7
    assert result.failed == 0


def test_plain_h5py_reads_a_shard() -> None:
    fingerprint = make.SETS["pose"].fingerprint
    [*_, path] = sorted((ARCHIVE / "v1.0" / "store" / "fs" / fingerprint / "shards").iterdir())
    document = (path.parents[1] / "FEATURESET.json").read_bytes()
    assert hashlib.blake2b(document, digest_size=16).hexdigest() == fingerprint
    with h5py.File(path) as file:
        assert file.attrs["encoding-type"] == b"msakit.shard"
        assert file.attrs["featureset"].decode() == fingerprint
        field = file["fields/pose"]
        offsets, row = field["offsets"][:], 1
        values = field["values"][offsets[row] : offsets[row + 1]]
        key = file["keys"][row].tobytes()
        [number] = [n for n in range(make.NUM_SAMPLES) if make.key_of(n) == key]
        np.testing.assert_array_equal(values, make.values_of("pose", number))
        raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        assert xxhash.xxh3_64_intdigest(raw) == field["xxh3"][row]
        start = field["values"].id.get_offset() + int(offsets[row]) * 2 * 2
    assert path.read_bytes()[start : start + len(raw)] == raw


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [1.0, 1, True, None]}, b'{"a":[1.0,1,true,null],"b":1}'),
        ({"e\u0301": 0.1}, '{"\u00e9":0.1}'.encode()),
        ((1e16, 1e-7, -0.0), b"[1e+16,1e-07,-0.0]"),
    ],
)
def test_canonical_json_is_fixed(value: object, expected: bytes) -> None:
    assert canonical_json(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "no canonical form"),
        ({"a": float("inf")}, r"\$\.a"),
        ({1: 2}, "not a string"),
        ([object()], r"\$\[0\] is a object"),
        ({"a": {1, 2}}, "set"),
        ({"e\u0301": 1, "\u00e9": 2}, "two keys"),
        ({"a": np.float32(1)}, "float32"),
        (b"bytes", "bytes"),
    ],
)
def test_what_has_no_canonical_form_is_an_error(value: object, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        canonical_json(value)
