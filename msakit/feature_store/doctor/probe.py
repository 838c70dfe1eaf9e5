"""Do features know the labels of some splits? A linear probe that has seen neither half tells.

Features may come from a network that was trained on the corpus's own labels, as some published ones of
CMU-MOSI are. A probe fitted on one half of the training samples then does far better on the other half, which
it has not seen either, than on the test split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from msakit.feature_store.doctor.report import DataProblem
from msakit.feature_store.table import SampleTable

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

MOST_FEATURES = 2048
FEWEST_SAMPLES = 100
DISTANCE, DEVIATIONS = 0.3, 6.0
"""A correlation higher by this much, and by so many standard errors, is no chance and no new speaker."""


@dataclass
class Means:
    """The mean frame of every sample that has one.

    Attributes:
        of_row: Row of the table to its mean [D].
    """

    of_row: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def add(self, row: int, values: NDArray[np.float32]) -> None:
        """Take in one sequence [T, D]."""
        if len(values) and values.shape[1] <= MOST_FEATURES:
            self.of_row[row] = np.nan_to_num(values.mean(axis=0), posinf=0, neginf=0)


def check_fitted(table: SampleTable, modality: str, means: Means) -> Iterator[DataProblem]:
    """A warning where the features of a modality know the labels of the training split."""
    if not {"train", "test"} <= table.splits().keys():
        return
    halves = _halves(table, means.of_row)
    test = _rows_of(table, means.of_row, "test")
    if min(*map(len, halves), len(test)) < FEWEST_SAMPLES:
        return
    first, second = halves
    labels = _labels(table)
    predicted = _probe(means.of_row, labels, first, np.concatenate([second, test]))
    seen = _correlation(predicted[: len(second)], labels[second])
    unseen = _correlation(predicted[len(second) :], labels[test])
    error = math.sqrt(1 / (len(second) - 3) + 1 / (len(test) - 3))
    if seen - unseen > DISTANCE and math.atanh(seen) - math.atanh(unseen) > DEVIATIONS * error:
        yield DataProblem(
            "fitted-features",
            "warning",
            modality,
            f"A linear probe fitted on half of the training samples correlates {seen:.2f} with the labels of "
            f"the other half and {unseen:.2f} with those of test.",
            "What made these features was probably trained on the labels of train: systems that learn from "
            "them fail on test, unnoticed by validation. Leave the modality out, or ask where it comes from.",
            len(second),
        )


def _rows_of(table: SampleTable, of_row: dict[int, NDArray[np.float32]], split: str) -> Rows:
    labelled = [row for row in table.rows(split).tolist() if row in of_row and _is_labelled(table, row)]
    return np.array(labelled, np.int64)


def _is_labelled(table: SampleTable, row: int) -> bool:
    return bool(table.label_name[row]) or bool(np.isfinite(table.label[row]))


def _halves(table: SampleTable, of_row: dict[int, NDArray[np.float32]]) -> tuple[Rows, Rows]:
    """The training rows in two halves; no video, dialogue or speaker is in both where the table tells."""
    rows = _rows_of(table, of_row, "train")
    columns = table.columns()
    name = next((name for name in ("speaker", "video", "dialogue") if name in columns), None)
    groups = [str(columns[name][row]) for row in rows.tolist()] if name else []
    if len(names := sorted(set(groups))) < 2:
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]
    first = np.isin(groups, names[::2])
    return rows[first], rows[~first]


def _labels(table: SampleTable) -> Floats:
    """Ratings [N, 1], or one column a class [N, C]."""
    if not any(table.label_name):
        return np.asarray(table.label, np.float64)[:, None]
    names = np.array(table.label_name)
    return np.stack([names == name for name in sorted(set(table.label_name) - {""})], axis=1).astype(
        np.float64
    )


def _probe(of_row: dict[int, NDArray[np.float32]], labels: Floats, fit: Rows, rows: Rows) -> Floats:
    """Ridge regression on standardised features: [len(rows), C]."""
    inputs = np.stack([of_row[row] for row in fit.tolist()]).astype(np.float64)
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
    deviation[deviation == 0] = 1
    inputs = (inputs - mean) / deviation
    targets = labels[fit] - labels[fit].mean(axis=0)
    gram = inputs.T @ inputs + len(fit) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ targets)
    found = np.stack([of_row[row] for row in rows.tolist()])
    return np.asarray(((found - mean) / deviation) @ weights)


def _correlation(predicted: Floats, labels: Floats) -> float:
    """Pearson's r over all columns, each centred; at most .999, so that it can be transformed."""
    predicted, labels = predicted - predicted.mean(axis=0), labels - labels.mean(axis=0)
    scale = math.sqrt(float((predicted**2).sum() * (labels**2).sum()))
    return min(0.999, max(-0.999, float((predicted * labels).sum()) / scale)) if scale else 0.0
