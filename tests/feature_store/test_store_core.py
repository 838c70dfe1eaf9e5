from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import AUDIO, NAMES, VISION, fill, key_of, values_of

from msakit.feature_store import (
    FeatureSet,
    FeatureStore,
    PaddedBatch,
    Sample,
    SampleTable,
    StoreError,
    WriterOptions,
    digest_bytes,
    digest_file,
    sample_key,
)


def test_batches_hold_what_was_put(store: FeatureStore) -> None:
    table = store.table("demo")
    reader = store.reader(table, "vision")
    rows = np.array([5, 3, 0, 11])
    batch = reader.read(rows)
    expected = [values_of(NAMES[row], 3) for row in rows]
    assert batch.present.tolist() == [True, False, True, True]
    assert batch.lengths.tolist() == [len(expected[0]), 0, len(expected[2]), len(expected[3])]
    assert batch.values.shape == (4, max(batch.lengths), 3)
    assert batch.values.dtype == np.float32
    for place, length in enumerate(batch.lengths):
        np.testing.assert_array_equal(batch.values[place, :length], expected[place][:length])
        assert not batch.values[place, length:].any()


def test_reader_declares_widths_lengths_and_presence(store: FeatureStore) -> None:
    reader = store.reader(store.table("demo"), "vision")
    assert (reader.width, reader.dtype, reader.frame_shift_s, len(reader)) == (3, "float16", 0.04, 12)
    expected = [0 if name == "clip03" else len(values_of(name, 3)) for name in NAMES]
    assert reader.lengths.tolist() == expected
    assert reader.present.tolist() == [name != "clip03" for name in NAMES]


@pytest.mark.parametrize("verify", ["first", "always", "never"])
def test_every_way_of_reading_agrees(store: FeatureStore, verify: str) -> None:
    table = store.table("demo")
    reader = store.reader(table, "audio", verify=verify)
    for _ in range(2):
        batch = reader.read(range(12))
        for row, name in enumerate(NAMES):
            np.testing.assert_array_equal(batch.values[row, : batch.lengths[row]], values_of(name, 6))


def test_a_buffer_is_filled_and_bounded(store: FeatureStore) -> None:
    reader = store.reader(store.table("demo"), "audio")
    buffer = np.full((4, 64, 6), 7.0, np.float32)
    batch = reader.read([1, 2], out=buffer)
    assert np.shares_memory(batch.values, buffer)
    np.testing.assert_array_equal(batch.values, reader.read([1, 2]).values)
    with pytest.raises(StoreError, match="smaller than the batch"):
        reader.read(range(5), out=buffer)
    with pytest.raises(StoreError, match="float64"):
        reader.read([0], out=np.zeros((4, 64, 6)))


def test_all_samples_absent_still_gives_a_batch(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO):
        pass
    table = SampleTable.from_samples([Sample("a", "test"), Sample("b", "test")], {"audio": AUDIO.fingerprint})
    reader = store.reader(store.write_table("t", table), "audio")
    batch = reader.read([1, 0])
    assert batch.values.shape == (2, 1, 6)
    assert not batch.values.any()
    assert not batch.present.any()
    assert reader.read([]).values.shape == (0, 1, 6)


def test_empty_and_absent_differ(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with store.writer(AUDIO) as writer:
        writer.put(key_of("empty"), np.zeros((0, 6), np.float32))
    samples = [Sample("e", "test", features={"audio": key_of("empty")}), Sample("a", "test")]
    table = store.write_table("t", SampleTable.from_samples(samples, {"audio": AUDIO.fingerprint}))
    batch = store.reader(table, "audio", verify="always").read([0, 1])
    assert batch.lengths.tolist() == [0, 0]
    assert batch.present.tolist() == [True, False]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float16", [[0.5, -2.0], [65504.0, 6e-8]]),
        ("bfloat16", [[0.5, -2.0], [3.0e38, 1.0]]),
        ("float32", [[0.1, -2.0], [3.0e38, 1e-40]]),
        ("float64", [[0.1, -2.0], [1.5, 1e-30]]),
        ("int32", [[1, -2], [2**20, 0]]),
        ("int64", [[1, -2], [2**20, 0]]),
        ("uint8", [[1, 2], [255, 0]]),
    ],
)
def test_every_dtype_round_trips(tmp_path: Path, dtype: str, values: list[list[float]]) -> None:
    store = FeatureStore.create(tmp_path / "s")
    feature_set = FeatureSet("x", "any@1", 2, dtype)
    array = np.array(values, np.float64)
    with store.writer(feature_set) as writer:
        writer.put(key_of("a"), array)
    samples = [Sample("a", "test", features={"x": key_of("a")})]
    table = store.write_table("t", SampleTable.from_samples(samples, {"x": feature_set.fingerprint}))
    read = store.reader(table, "x").read([0]).values[0]
    if dtype == "bfloat16":
        import torch

        expected = torch.tensor(values, dtype=torch.bfloat16).to(torch.float32).numpy()
    else:
        expected = array.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(read, expected)


def test_bfloat16_rounds_as_torch_does() -> None:
    import torch

    from msakit.feature_store.dtypes import bfloat16_to_float32, float32_to_bfloat16

    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    floats = np.concatenate([bits.view(np.float32), np.array([np.nan, np.inf, -np.inf, 0, -0.0], np.float32)])
    expected = torch.from_numpy(floats).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(bfloat16_to_float32(float32_to_bfloat16(floats)), expected)


def test_putting_again_is_idempotent_and_other_values_are_refused(store: FeatureStore) -> None:
    with store.writer(AUDIO) as writer:
        assert key_of("clip00") in writer
        assert key_of("new") not in writer
        assert writer.put(key_of("clip00"), values_of("clip00", 6)) is False
        with pytest.raises(StoreError, match="other values"):
            writer.put(key_of("clip00"), values_of("clip00", 6) + 1)
        assert writer.put(key_of("new"), values_of("new", 6)) is True
        assert writer.put(key_of("new"), values_of("new", 6)) is False
    store.refresh()
    assert len(store.index(AUDIO.fingerprint)) == 13
    assert store.index(AUDIO.fingerprint).num_duplicates == 0


def test_nonfinite_values_follow_the_policy(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    values = np.array([[np.nan, 1, np.inf, -np.inf, 2, 3]], np.float32)
    with (
        store.writer(AUDIO) as writer,
        pytest.raises(StoreError, match="3 values that are NaN, infinite") as caught,
    ):
        writer.put(key_of("bad"), values)
    assert "nan_policy" in caught.value.hint
    with store.writer(AUDIO, nan_policy="keep") as writer:
        writer.put(key_of("kept"), values)
    with store.writer(AUDIO, nan_policy="zero") as writer:
        writer.put(key_of("zeroed"), values)
    samples = [Sample(name, "test", features={"audio": key_of(name)}) for name in ("kept", "zeroed")]
    table = store.write_table("t", SampleTable.from_samples(samples, {"audio": AUDIO.fingerprint}))
    store.refresh()
    reader = store.reader(table, "audio")
    np.testing.assert_array_equal(reader.read_one(0), values)
    np.testing.assert_array_equal(reader.read_one(1), [[0, 1, 0, 0, 2, 3]])
    assert reader.count_nonfinite().tolist() == [3, 0]
    from msakit.feature_store.disk.rows import RowSource

    assert RowSource(store.index(AUDIO.fingerprint)).meta(key_of("zeroed")) == {"num_zeroed": 3}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 5), np.float32), r"\[4, 5\].*\[T, 6\]"),
        (np.zeros(6, np.float32), r"\[6\]"),
        (np.zeros((4, 6), complex), "not a real number"),
        (np.array([["a"] * 6]), "not a real number"),
    ],
)
def test_values_that_do_not_fit_are_refused(store: FeatureStore, values: np.ndarray, message: str) -> None:
    with store.writer(AUDIO) as writer, pytest.raises(StoreError, match=message):
        writer.put(key_of("x"), values)


def test_values_beyond_float16_are_not_stored_as_infinity(store: FeatureStore) -> None:
    with store.writer(VISION) as writer, pytest.raises(StoreError, match="beyond float16"):
        writer.put(key_of("x"), np.full((1, 3), 1e6, np.float32))


def test_non_contiguous_and_big_endian_values_are_stored_right(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    array = np.arange(24, dtype=">f4").reshape(6, 4)[:, ::-1].T
    with store.writer(AUDIO) as writer:
        writer.put(key_of("a"), array)
    samples = [Sample("a", "test", features={"audio": key_of("a")})]
    table = store.write_table("t", SampleTable.from_samples(samples, {"audio": AUDIO.fingerprint}))
    np.testing.assert_array_equal(store.reader(table, "audio").read_one(0), array.astype("f4"))


def test_intervals_are_stored_beside_the_values(tmp_path: Path) -> None:
    from msakit.feature_store.disk.rows import RowSource

    store = FeatureStore.create(tmp_path / "s")
    words = FeatureSet("text", "glove@1", 2, "float32", intervals=True)
    times = np.array([[0.0, 0.5], [0.5, 0.75]])
    with store.writer(words) as writer:
        writer.put(key_of("a"), np.ones((2, 2), np.float32), intervals=times)
        with pytest.raises(StoreError, match=r"intervals \[2, 2\]"):
            writer.put(key_of("b"), np.ones((2, 2), np.float32))
    rows = RowSource(store.index(words.fingerprint)).rows_of(
        np.frombuffer(key_of("a"), np.uint8).reshape(1, 16)
    )
    np.testing.assert_array_equal(np.frombuffer(rows.fields["intervals"].buffers[0]).reshape(2, 2), times)


def test_many_shards_read_as_one(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    names = [f"n{number}" for number in range(50)]
    with store.writer(AUDIO, WriterOptions(shard_samples=7)) as writer:
        for name in names:
            writer.put(key_of(name), values_of(name, 6))
    samples = [Sample(name, "train", features={"audio": key_of(name)}) for name in names]
    table = store.write_table("t", SampleTable.from_samples(samples, {"audio": AUDIO.fingerprint}))
    assert len(store.index(AUDIO.fingerprint).shards) == 8
    reader = store.reader(table, "audio")
    for row, name in enumerate(names):
        np.testing.assert_array_equal(reader.read_one(row), values_of(name, 6))


def test_readers_see_a_snapshot_until_refreshed(store: FeatureStore) -> None:
    before = store.index(AUDIO.fingerprint)
    with store.writer(AUDIO) as writer:
        writer.put(key_of("later"), values_of("later", 6))
        writer.flush()
        store.refresh()
        assert len(store.index(AUDIO.fingerprint)) == len(before)
        writer.flush(seal=True)
        assert len(store.index(AUDIO.fingerprint)) == len(before)
        store.refresh()
        assert len(store.index(AUDIO.fingerprint)) == len(before) + 1


def test_a_reader_survives_pickling(store: FeatureStore) -> None:
    reader = store.reader(store.table("demo"), "audio")
    first = reader.read([2, 4]).values
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.read([2, 4]).values, first)


def test_damaged_values_are_named(store: FeatureStore) -> None:
    [shard] = store.index(AUDIO.fingerprint).shards
    reader = store.reader(store.table("demo"), "audio")
    start = int(reader._start[4])
    raw = bytearray(shard.path.read_bytes())
    raw[start + 3] ^= 0x10
    shard.path.write_bytes(raw)
    reader.read([0, 1, 2, 3])
    with pytest.raises(StoreError, match=key_of("clip04").hex()) as caught:
        reader.read([4])
    assert caught.value.exit_code == 1


def test_a_table_naming_missing_features_is_refused(store: FeatureStore) -> None:
    sample = Sample("a", "test", features={"audio": key_of("nowhere")})
    table = store.write_table("t", SampleTable.from_samples([sample], {"audio": AUDIO.fingerprint}))
    with pytest.raises(StoreError, match="1 samples of the table have no audio features"):
        store.reader(table, "audio")
    unknown = FeatureSet("audio", "other@1", 6)
    with pytest.raises(StoreError, match="which is not in"):
        store.write_table("u", SampleTable.from_samples([sample], {"audio": unknown.fingerprint}))


def test_single_file_holds_the_same(store: FeatureStore, tmp_path: Path) -> None:
    with store.writer(AUDIO) as writer:
        writer.put(key_of("unused"), values_of("unused", 6))
    store.refresh()
    path = tmp_path / "demo.h5"
    store.export_single_file(path)
    single = FeatureStore.open(path)
    assert single.read_only
    assert single.datasets() == ["demo"]
    assert single.versions("demo") == [1]
    assert len(single.index(AUDIO.fingerprint)) == 12, "features no table names are left out"
    table = single.table("demo")
    for modality in ("audio", "vision"):
        ours, theirs = store.reader(store.table("demo"), modality), single.reader(table, modality)
        batch, other = ours.read(range(12)), theirs.read(range(12))
        np.testing.assert_array_equal(batch.values, other.values)
        np.testing.assert_array_equal(batch.present, other.present)
    with pytest.raises(StoreError, match="read-only"):
        single.writer(AUDIO)
    with pytest.raises(StoreError, match="exists"):
        store.export_single_file(path)


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        FeatureStore.open(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(StoreError, match=r"STORE\.json"):
        FeatureStore.open(tmp_path / "other")
    with pytest.raises(StoreError, match="not empty"):
        FeatureStore.create(tmp_path / "other")
    (tmp_path / "file.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(StoreError, match=r"file\.h5"):
        FeatureStore.open(tmp_path / "file.h5")


def test_collate_gives_tensors(store: FeatureStore) -> None:
    import torch

    from msakit.feature_store.collate import read_tensors

    reader = store.reader(store.table("demo"), "vision")
    batch: PaddedBatch = reader.read([3, 1])
    values, lengths = read_tensors(reader, [3, 1])
    assert torch.equal(values, torch.from_numpy(batch.values))
    assert lengths.tolist() == batch.lengths.tolist()


def test_the_store_imports_no_torch() -> None:
    code = (
        "import sys; from msakit.feature_store import FeatureStore; "
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_keys_depend_on_everything_that_makes_a_sample(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    digest = digest_file(tmp_path / "a")
    assert digest == digest_bytes(b"abc")
    keys = [
        sample_key(digest),
        sample_key(digest_bytes(b"abd")),
        sample_key(digest, 0, 1),
        sample_key(digest, 0, 2),
        sample_key(digest, 1, 2),
    ]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {16}
    with pytest.raises(StoreError, match="32"):
        sample_key(b"short")
    with pytest.raises(StoreError, match="before its start"):
        sample_key(digest, 5, 4)


def test_the_key_of_known_content_never_changes() -> None:
    # Computed with sha256sum and b2sum -l 128 over the bytes docs/format.md prescribes.
    assert sample_key(digest_bytes(b"abc"), 0, 1_000_000).hex() == "4bee0785d050df40a6872f3f1e5625c4"


def test_two_stores_may_be_filled_alike(tmp_path: Path) -> None:
    tables = []
    for name in ("a", "b"):
        store = FeatureStore.create(tmp_path / name)
        tables.append(store.write_table("demo", fill(store, NAMES)))
    assert tables[0].features["audio"].fingerprint == tables[1].features["audio"].fingerprint
    np.testing.assert_array_equal(tables[0].features["audio"].keys, tables[1].features["audio"].keys)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_tensors_agree_with_arrays(tmp_path: Path, dtype: str) -> None:
    import torch

    from msakit.feature_store.collate import read_tensors

    store = FeatureStore.create(tmp_path / "s")
    feature_set = FeatureSet("x", "any@1", 5, dtype)
    rng = np.random.default_rng(0)
    with store.writer(feature_set) as writer:
        for name, length in (("a", 7), ("b", 3)):
            writer.put(key_of(name), rng.standard_normal((length, 5)).astype(np.float32))
    samples = [
        Sample("a", "test", features={"x": key_of("a")}),
        Sample("b", "test", features={"x": key_of("b")}),
    ]
    table = store.write_table("t", SampleTable.from_samples(samples, {"x": feature_set.fingerprint}))
    reader = store.reader(table, "x")
    values, lengths = read_tensors(reader, [1, 0])
    assert values.dtype == torch.float32
    np.testing.assert_array_equal(values.numpy(), reader.read([1, 0]).values)
    assert lengths.tolist() == [3, 7]
    assert not values[0, 3:].any()
