"""Every metric of a family at once, constant-answer baselines and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msakit.core.errors import DataError
from msakit.core.labels import check_label_range
from msakit.metrics.families import family_metrics, with_missing
from msakit.metrics.scores import MISSING, Floats


def compute_metrics(
    family: str,
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    label_names: Sequence[str] | None = None,
    label_range: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Every metric of a family; an undefined one (correlation of a constant) is NaN.

    Agrees with `MetricsTop` of MSE-Adapter (utils/metricsTop.py), which rounds MOSI and MOSEI values
    to four decimals; these are not rounded.

    Args:
        family: "mosei", "sims" or "erc".
        predictions: [N] scores or class indices; NaN where there is none.
        labels: [N] scores or class indices.
        label_names: Class names in index order; adds `f1:<name>` and `support:<name>` (erc).
        label_range: The corpus's range of scores, checked against the one the family's classes are made for.

    Raises:
        DataError: Empty, unequal in length, NaN or infinite labels, or classes that do not exist.
    """
    metrics = family_metrics(family)
    if label_range is not None:
        check_label_range(family, label_range)
    predicted, actual = _checked(predictions, labels)
    if family == "erc":
        _check_classes(predicted, actual, label_names)
    values = {metric.name: metric.function(predicted, actual) for metric in metrics}
    if family == "erc" and label_names is not None:
        values |= _per_class(predicted, actual, label_names)
    return values


def baseline_metrics(
    family: str,
    train_labels: ArrayLike,
    labels: ArrayLike,
    *,
    label_names: Sequence[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics of a constant answer chosen from the training labels.

    Regression: {"mean": {...}, "median": {...}} (the median minimises the absolute error); erc:
    {"majority": {...}}, the most frequent class.
    """
    train = np.asarray(train_labels, dtype=np.float64)
    _checked(train, train)
    if family == "erc":
        classes, counts = np.unique(train, return_counts=True)
        constants = {"majority": float(classes[counts.argmax()])}
    else:
        constants = {"mean": float(train.mean()), "median": float(np.median(train))}
    shape = np.shape(labels)
    return {
        name: compute_metrics(family, np.full(shape, value), labels, label_names=label_names)
        for name, value in constants.items()
    }


def confusion_matrix(predictions: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Counts [C, C+1]: rows are labels, columns predictions, the last column the missing ones."""
    predicted, actual = _checked(predictions, labels)
    _check_classes(predicted, actual, [str(index) for index in range(num_classes)])
    matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    columns = with_missing(lambda values: values.astype(np.int64), predicted)
    np.add.at(matrix, (actual.astype(np.int64), np.where(columns == MISSING, num_classes, columns)), 1)
    return matrix


def _per_class(predicted: Floats, actual: Floats, names: Sequence[str]) -> dict[str, float]:
    matrix = confusion_matrix(predicted, actual, len(names))
    support, said, correct = matrix.sum(1), matrix[:, :-1].sum(0), matrix.diagonal()
    with np.errstate(invalid="ignore"):
        scores = 2 * correct / (said + support)
    values = {f"f1:{name}": float(score) for name, score in zip(names, scores, strict=True)}
    return values | {f"support:{name}": float(count) for name, count in zip(names, support, strict=True)}


def _checked(predictions: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    predicted, actual = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != actual.shape:
        message = f"{predicted.shape} predictions cannot be compared with {actual.shape} labels."
        raise DataError(message, hint="Give one prediction for every label, NaN where there is none.")
    if not actual.size:
        raise DataError("There are no samples to compute metrics over.", hint="Is the split empty?")
    if not np.isfinite(actual).all():
        raise DataError(f"{int((~np.isfinite(actual)).sum())} labels are NaN or infinite.")
    if np.isinf(predicted).any():
        raise DataError(f"{int(np.isinf(predicted).sum())} predictions are infinite.")
    return predicted, actual


def _check_classes(predicted: Floats, actual: Floats, names: Sequence[str] | None) -> None:
    for what, values in (("label", actual), ("prediction", predicted[~np.isnan(predicted)])):
        highest = np.inf if names is None else len(names) - 1
        bad = values[(values < 0) | (values > highest) | (values != np.floor(values))]
        if bad.size:
            known = "0, 1, 2, ..." if names is None else f"0 to {len(names) - 1}"
            raise DataError(f"{bad.size} {what}s are not class indices ({known}); the first is {bad[0]:g}.")
