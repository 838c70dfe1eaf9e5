"""What a pipeline gets of a store: features of every storage type, cleaned, cut, prefetched; statistics."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from msakit.core.errors import DataError
from msakit.core.pipeline.config import FeatureConfig, parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.specs import DatasetSpec
from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, digest_bytes, sample_key
from msakit.feature_store.dtypes import encode
from msakit.samples.samples import Samples
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import tiny_pipeline

LENGTHS = (3, 1, 0, 4, 2, 5)
WIDTH = 3


def arrays() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.normal(size=(length, WIDTH)).astype(np.float32) for length in LENGTHS]


def open_samples(path, values, *, dtype="float32", **features) -> Samples:
    """One modality; a sample without frames does not have it. The last one is of the test split."""
    store = FeatureStore.create(path)
    feature_set = FeatureSet("audio", "numbers@1", WIDTH, dtype)
    rows = []
    with store.writer(feature_set, nan_policy="keep") as writer:
        for number, array in enumerate(values):
            key = sample_key(digest_bytes(b"%d" % number))
            if len(array):
                writer.put(key, array)
            split = "test" if number == len(values) - 1 else "train"
            held = {"audio": key} if len(array) else {}
            rows.append(Sample(f"s{number}", split, label=1.0, text="x" * number, features=held))
    store.refresh()
    table = store.write_table("d", SampleTable.from_samples(rows, {"audio": feature_set.fingerprint}))
    spec = DatasetSpec("d", "regression", "en", label_range=(-3, 3), metrics="mosi")
    return Samples(table, {"audio": store.reader(table, "audio")}, spec, FeatureConfig(**features))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_features_are_float32_whatever_they_are_stored_as(tmp_path, dtype):
    values = arrays()
    samples = open_samples(tmp_path / "s", values, dtype=dtype)
    sequence = samples.batch(np.array([3, 2, 0])).modalities["audio"]
    assert sequence.lengths.tolist() == [4, 0, 3]
    for row, number in enumerate((3, 2, 0)):
        stored = encode(values[number], dtype)
        # bfloat16 is the upper half of a float32
        exact = (stored.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else stored
        assert np.array_equal(sequence.values[row, : LENGTHS[number]].numpy(), exact.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_nonfinite_values_are_refused_or_become_zero(tmp_path, dtype):
    values = arrays()
    values[3][1, 2] = -np.inf
    values[3][0, 0] = np.nan
    refusing = open_samples(tmp_path / "a", values, dtype=dtype)
    with pytest.raises(DataError, match=r"audio features of s3 hold NaN or infinity \(2 values in 1 samples"):
        refusing.batch(np.array([0, 3]))
    zeroing = open_samples(tmp_path / "b", values, dtype=dtype, nonfinite="zero")
    found = zeroing.batch(np.array([0, 3])).modalities["audio"].values[1]
    assert found[1, 2] == found[0, 0] == 0
    assert found.isfinite().all()
    assert found[2].abs().min() > 0


def test_frames_beyond_the_limit_are_cut_off(tmp_path):
    values = arrays()
    sequence = open_samples(tmp_path / "s", values, max_frames=2).batch(np.array([3, 1])).modalities["audio"]
    assert sequence.lengths.tolist() == [2, 1]
    assert np.array_equal(sequence.values[0].numpy(), values[3][:2])


def test_statistics_are_of_the_training_frames(tmp_path):
    values = arrays()
    statistics = open_samples(tmp_path / "s", values).statistics("audio")
    frames = np.concatenate(values[:-1]).astype(np.float64)
    assert np.allclose(statistics.mean, frames.mean(axis=0), atol=1e-6)
    assert np.allclose(statistics.deviation, frames.std(axis=0), atol=1e-6)


def test_features_are_read_once_before_the_first_step(registry, store, tmp_path, monkeypatch):
    """The checks and the statistics share one pass; then each training batch is read as it comes."""
    resolved = resolve(parse_pipeline(tiny_pipeline(), "test"), registry)
    read: list[int] = []
    original = Samples._features_of
    monkeypatch.setattr(
        Samples, "_features_of", lambda self, name, rows: read.extend(rows) or original(self, name, rows)
    )

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("msakit.training.trainer.Trainer.train", stop)
    with pytest.raises(KeyboardInterrupt):
        train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry)
    counts = Counter(read)
    samples = Samples.open(store, resolved)
    expected = [row for split in ("train", "valid", "test") for row in samples.rows(split).tolist()]
    assert counts == dict.fromkeys(expected, 2)  # once for each of the two modalities


def test_batches_are_asked_for_ahead_and_come_unchanged(tmp_path, monkeypatch):
    samples = open_samples(tmp_path / "s", arrays())
    asked: list[int] = []
    monkeypatch.setattr("msakit.feature_store.FeatureReader.prefetch", lambda _, rows: asked.extend(rows))
    batches = [np.array([row]) for row in (5, 0, 3, 1, 4, 2)]
    ahead = samples.prefetched(batches)
    assert next(ahead).tolist() == [5]
    assert len(asked) > 1
    assert [rows.tolist() for rows in ahead] == [[0], [3], [1], [4], [2]]
    assert asked == [5, 0, 3, 1, 4, 2]


def test_everybody_is_given_somebody_elses_features_of_the_same_split(tmp_path):
    samples = open_samples(tmp_path / "s", [*arrays(), np.ones((1, WIDTH), np.float32)])
    donors = samples.donor_rows([f"s{number}" for number in range(6)])
    assert sorted(donors) == list(range(6))
    assert not np.any(donors == np.arange(6))


def test_labels_are_classes_by_name(tmp_path, store, registry):
    from msakit.core.pipeline.config import parse_pipeline
    from msakit.core.pipeline.resolution import resolve
    from tests.conftest import tiny_pipeline

    given = parse_pipeline(tiny_pipeline(dataset="meld"), "test")
    samples = Samples.open(store, resolve(given, registry))
    names = samples.dataset.labels
    rows = samples.rows("train")
    assert [names[int(label)] for label in samples.labels(rows)] == [
        samples.table.label_name[r] for r in rows
    ]


def test_context_without_dialogues_is_refused(registry, store):
    config = parse_pipeline(tiny_pipeline(prompt={"context": 3}), "test")
    with pytest.raises(DataError, match=r"prompt\.context is 3, but no sample of 'demo'"):
        Samples.open(store, resolve(config, registry))


def test_batches_count_the_previous_utterances_a_prompt_brings_along(registry, store):
    lengths = {}
    for context in (0, 2):
        config = parse_pipeline(tiny_pipeline(dataset="meld", prompt={"context": context}), "test")
        samples = Samples.open(store, resolve(config, registry))
        lengths[context] = samples.text_lengths(np.arange(len(samples.table)))
    own, table = lengths[0], samples.table
    for row in range(len(table)):
        earlier = [
            other for other in range(max(0, row - 2), row) if table.dialogue[other] == table.dialogue[row]
        ]
        assert lengths[2][row] == own[row] + own[earlier].sum()
