"""Scores over arrays: the arithmetic below every metric.

Predictions may be NaN (missing); the class of a missing prediction is `MISSING`. Written with NumPy
alone rather than scikit-learn because a paired bootstrap evaluates them thousands of times; the tests
hold them equal to scikit-learn's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]

MISSING = -1
"""The class of a missing prediction: never that of a label."""


def mean_absolute_error(predictions: Floats, labels: Floats) -> float:
    """Mean |prediction - label| over the predictions that exist; NaN if there are none."""
    found = ~np.isnan(predictions)
    return float(np.abs(predictions - labels)[found].mean()) if found.any() else float("nan")


def pearson_correlation(predictions: Floats, labels: Floats) -> float:
    """Pearson's r over the predictions that exist; NaN if either side is constant."""
    found = ~np.isnan(predictions)
    if found.sum() < 2 or np.ptp(predictions[found]) == 0 or np.ptp(labels[found]) == 0:
        return float("nan")
    return float(np.corrcoef(predictions[found], labels[found])[0, 1])


def r_squared(predictions: Floats, labels: Floats) -> float:
    """1 - residual over total sum of squares, over the predictions that exist; NaN for constant labels."""
    found = ~np.isnan(predictions)
    if found.sum() < 2 or np.ptp(labels[found]) == 0:
        return float("nan")
    residual = float(((labels - predictions)[found] ** 2).sum())
    return 1.0 - residual / float(((labels[found] - labels[found].mean()) ** 2).sum())


def accuracy(predicted: Classes, actual: Classes) -> float:
    """Share of equal classes; a missing prediction is wrong. NaN for no samples."""
    return float((predicted == actual).mean()) if actual.size else float("nan")


def _class_counts(predicted: Classes, actual: Classes) -> tuple[Classes, Classes, Classes]:
    """Correct, predicted and actual number of samples of each class 0..C-1, three times [C]."""
    num_classes = int(max(predicted.max(initial=0), actual.max(initial=0))) + 1
    correct = np.bincount(actual[predicted == actual], minlength=num_classes)
    said = np.bincount(predicted[predicted != MISSING], minlength=num_classes)
    return correct, said, np.bincount(actual, minlength=num_classes)


def class_f1(predicted: Classes, actual: Classes) -> Floats:
    """F1 of each class 0..C-1 [C]; NaN for a class neither predicted nor present."""
    correct, said, true = _class_counts(predicted, actual)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * correct / (said + true))


def weighted_f1(predicted: Classes, actual: Classes) -> float:
    """F1 of each class weighted by its share of the labels, as `f1_score(average="weighted")`."""
    true = _class_counts(predicted, actual)[2]
    if not actual.size:
        return float("nan")
    present = true > 0
    return float(np.average(class_f1(predicted, actual)[present], weights=true[present]))


def macro_f1(predicted: Classes, actual: Classes) -> float:
    """Unweighted mean F1 over the classes present or predicted, as `f1_score(average="macro")`."""
    return float(np.nanmean(class_f1(predicted, actual)))


def unweighted_average_recall(predicted: Classes, actual: Classes) -> float:
    """Mean recall over the classes present (balanced accuracy, "UAR")."""
    correct, _, true = _class_counts(predicted, actual)
    return float((correct[true > 0] / true[true > 0]).mean())


def zero_share(predictions: Floats, _labels: Floats) -> float:
    """Share of predictions that are exactly 0, which Has0 calls non-negative and Non0 negative."""
    return float((predictions == 0).mean())


def missing_share(predictions: Floats, _labels: Floats) -> float:
    """Share of samples with no prediction."""
    return float(np.isnan(predictions).mean())
