"""What an evaluation leaves on disk comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from msakit.core.pipeline.answers import AnswerSet
from msakit.core.registry.specs import DatasetSpec
from msakit.evaluation.evaluate import Evaluation
from msakit.runs.diagnostic_maps import read_maps
from msakit.runs.predictions import NUM_MAPPED_SAMPLES, write_large_diagnostics, write_predictions
from msakit.runs.results import load_run

SCORES = DatasetSpec("mosei", "regression", "en", "mosei", label_range=(-3.0, 3.0))
CLASSES = DatasetSpec("meld", "classification", "en", "erc", labels=("neutral", "joy, or not"))
NAN = float("nan")


def evaluation(labels: list[float], values: list[float], **changes: object) -> Evaluation:
    """An evaluation of samples a, b, c, ..., of labels and predictions alone unless told otherwise."""
    fields = {"probabilities": None, "texts": None, "diagnostics": {}, "seconds": 1.0} | changes
    ids = [chr(ord("a") + index) for index in range(len(labels))]
    return Evaluation(ids, np.array(labels), np.array(values), **fields)


def read_back(folder: Path, dataset: DatasetSpec):
    content = {"dataset": dataset.name, "family": dataset.metrics, "label_names": list(dataset.labels)}
    (folder / "metrics.json").write_text(json.dumps(content))
    return load_run(folder).predictions("test")


def test_scores_with_probabilities_and_small_diagnostics(tmp_path: Path) -> None:
    answers = AnswerSet.regression(-3, 3)
    table = np.random.default_rng(0).dirichlet(np.ones(61), size=2)
    diagnostics = {"alpha": [np.array([0.25, 0.75]), np.array([0.5, 0.5])], "entropy": [np.array(0.1)] * 2}
    outcome = evaluation([1.2, -0.4], [0.5, NAN], probabilities=table, diagnostics=diagnostics)
    write_predictions(tmp_path / "predictions.test.csv", outcome, answers, SCORES)
    found = read_back(tmp_path, SCORES)
    assert found.ids == ("a", "b")
    assert found.labels.tolist() == [1.2, -0.4]
    assert found.values[0] == 0.5
    assert np.isnan(found.values[1])
    assert list(found.probabilities) == list(answers.texts)
    assert np.stack([*found.probabilities.values()], 1) == pytest.approx(table, rel=1e-5)
    assert found.diagnostics["alpha"].tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert found.diagnostics["entropy"].tolist() == [0.1, 0.1]


def test_classes_with_awkward_names_and_generated_texts(tmp_path: Path) -> None:
    outcome = evaluation([1, 0], [NAN, 0], texts=['I think,\n"joy"', "neutral"])
    answers = AnswerSet.classification(CLASSES.labels, style="name")
    write_predictions(tmp_path / "predictions.test.csv", outcome, answers, CLASSES)
    found = read_back(tmp_path, CLASSES)
    assert found.labels.tolist() == [1, 0]
    assert np.isnan(found.values[0])
    assert found.values[1] == 0


def test_maps_of_uneven_shape_never_become_columns(tmp_path: Path) -> None:
    maps = [np.full((2, 3), 0.5), np.full((4, 9), 0.25)]
    outcome = evaluation([0.0, 1.0], [0.0, 1.0], diagnostics={"attention": maps})
    write_predictions(tmp_path / "predictions.test.csv", outcome, AnswerSet.regression(-3, 3), SCORES)
    assert read_back(tmp_path, SCORES).diagnostics == {}
    write_large_diagnostics(tmp_path / "diagnostics.test.npz", outcome)
    found = read_maps(tmp_path / "diagnostics.test.npz")["attention"]
    assert [values.shape for values in found.values()] == [(2, 3), (4, 9)]


def test_large_diagnostics_are_kept_of_the_first_samples_alone(tmp_path: Path) -> None:
    count = NUM_MAPPED_SAMPLES + 3
    maps = [np.full((5, 5), float(index)) for index in range(count)]
    outcome = evaluation([0.0] * count, [0.0] * count, diagnostics={"map": maps})
    write_large_diagnostics(tmp_path / "maps.npz", outcome)
    assert len(read_maps(tmp_path / "maps.npz")["map"]) == NUM_MAPPED_SAMPLES


def test_nothing_is_written_when_all_diagnostics_are_small(tmp_path: Path) -> None:
    outcome = evaluation([0.0], [0.0], diagnostics={"alpha": [np.ones(3)]})
    write_large_diagnostics(tmp_path / "maps.npz", outcome)
    assert not (tmp_path / "maps.npz").exists()
