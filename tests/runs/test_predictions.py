"""What an evaluation leaves on disk comes back as it was."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msakit.core.pipeline.answers import AnswerSet
from msakit.runs.predictions import Predictions, joined, read_predictions, to_csv

NAMES = ("neutral", "joy, or not")
NAN = float("nan")


def table(labels: list[float], values: list[float], **changes: object) -> Predictions:
    """Predictions for samples a, b, c, ..., of labels and predictions alone unless told otherwise."""
    ids = tuple(chr(ord("a") + index) for index in range(len(labels)))
    return Predictions(ids, np.array(labels), np.array(values), **changes)


def read_back(path: Path, found: Predictions) -> Predictions:
    path.write_text(to_csv(found), encoding="utf-8", newline="")
    return read_predictions(path, found.label_names)


def test_scores_with_probabilities_groups_and_small_diagnostics(tmp_path: Path) -> None:
    written = table(
        [1.2, -0.4],
        [0.5, NAN],
        answers=AnswerSet.regression(-3, 3).texts,
        probabilities=np.random.default_rng(0).dirichlet(np.ones(61), size=2),
        absent=(("audio", "text"), ()),
        groups={"dialogue": ("d1", "d1"), "speaker": ("Ross", "")},
        diagnostics={"alpha": np.array([[0.25, 0.75], [0.5, 0.5]]), "entropy": np.array([0.1, NAN])},
    )
    found = read_back(tmp_path / "predictions.test.csv", written)
    assert (found.ids, found.answers, found.absent) == (written.ids, written.answers, written.absent)
    assert found.groups == written.groups
    assert found.labels.tolist() == [1.2, -0.4]
    np.testing.assert_array_equal(found.values, written.values)
    assert found.probabilities == pytest.approx(written.probabilities, rel=1e-5)
    assert found.diagnostics.keys() == {"alpha", "entropy"}
    for name, values in written.diagnostics.items():
        np.testing.assert_array_equal(found.diagnostics[name], values)


def test_classes_with_awkward_names_and_generated_texts(tmp_path: Path) -> None:
    generated = ('I think,\n"joy"\r\n', "neutral")
    written = table([1, 0], [NAN, 0], label_names=NAMES, generated=generated)
    found = read_back(tmp_path / "predictions.test.csv", written)
    assert found.labels.tolist() == [1, 0]
    assert np.isnan(found.values[0])
    assert found.values[1] == 0
    assert found.generated == generated
    assert found.probabilities is None


def test_rows_say_what_was_answered_in_words() -> None:
    chances = np.array([[0.1, 0.6, 0.25, 0.05], [0.7, 0.1, 0.1, 0.1]])
    names = ("a", "b", "c", "d")
    found = table([1, 0], [1, NAN], label_names=names, answers=names, probabilities=chances)
    first, second = replace(found, absent=(("audio",), ())).rows()
    assert (first.id, first.prediction, first.absent) == ("a", "b", ["audio"])
    assert first.likeliest == [("b", 0.6), ("c", 0.25), ("a", 0.1)]
    assert (second.prediction, second.absent) == (None, [])


def test_tables_are_joined_and_put_in_order() -> None:
    parts = [
        replace(table([1.0, 2.0], [1.5, 2.5], groups={"speaker": ("x", "y")}), ids=("c", "a")),
        replace(table([3.0], [3.5], groups={"speaker": ("z",)}), ids=("b",)),
    ]
    found = joined(parts).reordered([1, 2, 0])
    assert found.ids == ("a", "b", "c")
    assert found.labels.tolist() == [2.0, 3.0, 1.0]
    assert found.values.tolist() == [2.5, 3.5, 1.5]
    assert found.groups == {"speaker": ("y", "z", "x")}


@pytest.mark.parametrize(
    "sample",
    [
        "=cmd|' /C calc'!A0",
        "@SUM(1)",
        "+1+cmd|x",
        "-2+3(x)",
        "\t=1",
        "'=1",
        "''@x",
        "-3g5yACwYnA",
        "'x",
        "+1",
    ],
)
def test_no_spreadsheet_runs_an_id_and_every_id_reads_back(tmp_path: Path, sample: str) -> None:
    written = replace(table([1.0, 0.0], [1.0, 0.0]), ids=(sample, "b"))
    found = read_back(tmp_path / "predictions.test.csv", written)
    assert found.ids == (sample, "b")
    with (tmp_path / "predictions.test.csv").open(encoding="utf-8", newline="") as file:
        cell = list(csv.reader(file))[1][0]
    assert cell[0] not in "=@\t\r"
    assert cell == sample or cell == f"'{sample}"
    assert not (cell[0] in "+-" and any(sign in cell for sign in "|(!"))
