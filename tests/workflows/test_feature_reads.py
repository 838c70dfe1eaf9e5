"""Before the first step a training reads every feature once: values are checked and measured in one pass."""

from __future__ import annotations

from collections import Counter

import pytest

from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.feature_store import FeatureReader
from msakit.samples.samples import Samples
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import WIDTHS, tiny_pipeline


class FirstStep(Exception):
    """Training is about to begin."""


class StopAtStart:
    def on_prepare(self, *, done, total):
        pass

    def on_start(self, *, num_steps, first_step):
        raise FirstStep

    def on_end(self):
        pass


def reads_before_training(registry, store, folder, monkeypatch, **changes):
    """How often each (modality, row) was read from the store before the first step, and the samples."""
    reads = Counter()
    read = FeatureReader.read

    def counted(reader, rows, *arguments, **options):
        reads.update((reader.modality, row) for row in rows.tolist())
        return read(reader, rows, *arguments, **options)

    monkeypatch.setattr(FeatureReader, "read", counted)
    resolved = resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)
    with pytest.raises(FirstStep):
        train_run(TrainingPlan(resolved, store, folder), registry, observers=[StopAtStart()])
    return reads, Samples.open(store, resolved)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": {"normalise": "standard"}},
        {"features": {"normalise": "none"}},
        {"dataset": "meld", "training": {"class_weights": "balanced"}},
    ],
)
def test_every_feature_is_read_once(registry, store, tmp_path, monkeypatch, changes):
    reads, samples = reads_before_training(registry, store, tmp_path / "run", monkeypatch, **changes)
    for split in ("train", "valid", "test"):
        wanted = {(name, row) for name in WIDTHS for row in samples.rows(split).tolist()}
        assert {reads[place] for place in wanted} == {1}, split


def test_a_head_reads_the_samples_that_scale_it_once_more(registry, store, tmp_path, monkeypatch):
    monkeypatch.setattr("msakit.workflows.train.HEAD_SAMPLES", 6)
    head = {"answers": {"readout": "head"}}
    reads, samples = reads_before_training(registry, store, tmp_path / "run", monkeypatch, **head)
    times = [reads["audio", row] for row in samples.rows("train").tolist()]
    assert times.count(2) == 6
    assert times.count(1) == len(times) - 6
