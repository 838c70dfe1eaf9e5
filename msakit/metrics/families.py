"""Which metrics each family has, and how scores become classes.

Class edges are compared in float32, as in the released code: a stored label 0.1 is then exactly on
the edge 0.1, not above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from msakit.core.errors import UnknownNameError
from msakit.metrics import scores
from msakit.metrics.scores import Classes, Floats

Score = Callable[[Floats, Floats], float]
ClassScore = Callable[[Classes, Classes], float]
Split = Callable[[Floats], Classes]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number about a set of predictions.

    Attributes:
        name: Stable key.
        title: Heading in tables.
        higher_is_better: None for what is neither good nor bad (the share of zeros).
        function: (predictions [N], labels [N]) -> value.
        summary: What it counts, in one sentence.
    """

    name: str
    title: str
    higher_is_better: bool | None
    function: Score
    summary: str

    def show(self, value: float) -> str:
        """The value as tables show it, to three decimals; a dash where it is undefined."""
        return "-" if np.isnan(value) else f"{value:.3f}"


def _classed(split: Split, score: ClassScore) -> Score:
    def function(predictions: Floats, labels: Floats) -> float:
        return score(with_missing(split, predictions), split(labels))

    return function


def with_missing(split: Split, predictions: Floats) -> Classes:
    """The classes of predictions, `scores.MISSING` where there is none."""
    missing = np.isnan(predictions)
    return np.where(missing, scores.MISSING, split(np.where(missing, 0.0, predictions)))


def _rounded(limit: int, values: Floats) -> Classes:
    """Clip to +-limit and round half to even: 0..2 limit."""
    clipped = np.clip(values.astype(np.float32), -limit, limit)
    return np.round(clipped).astype(np.int64) + limit


def _has0(values: Floats) -> Classes:
    return (values >= 0).astype(np.int64)


def _positive(values: Floats) -> Classes:
    return (values > 0).astype(np.int64)


def _binned(edges: Sequence[float], values: Floats) -> Classes:
    """Bins closed on the right, of values clipped to [-1, 1]."""
    clipped = np.clip(values, -1, 1).astype(np.float32)
    return np.digitize(clipped, np.asarray(edges, dtype=np.float32), right=True).astype(np.int64)


def _non0(score: ClassScore) -> Score:
    function = _classed(_positive, score)
    return lambda predictions, labels: function(predictions[labels != 0], labels[labels != 0])


def _clipped(function: Score) -> Score:
    return lambda predictions, labels: function(np.clip(predictions, -1, 1), np.clip(labels, -1, 1))


def _weak(predictions: Floats, labels: Floats) -> float:
    weak = np.abs(np.clip(labels, -1, 1).astype(np.float32)) <= np.float32(0.4)
    return _classed(partial(_binned, (0.0,)), scores.accuracy)(predictions[weak], labels[weak])


def _emotion(score: ClassScore) -> Score:
    return _classed(lambda values: values.astype(np.int64), score)


_SHARES = (
    Metric("zero_share", "zeros", None, scores.zero_share, "Share of predictions that are exactly 0."),
    Metric("missing_share", "missing", False, scores.missing_share, "Share of samples with no prediction."),
)

FAMILIES: Mapping[str, tuple[Metric, ...]] = {
    # Agrees with MetricsTop.__eval_mosei_regression of MSE-Adapter (utils/metricsTop.py), which is MMSA's.
    "mosei": (
        Metric(
            "mae",
            "MAE",
            False,
            scores.mean_absolute_error,
            "Mean absolute error, predictions not clipped.",
        ),
        Metric(
            "corr",
            "Corr",
            True,
            scores.pearson_correlation,
            "Pearson's r, predictions not clipped.",
        ),
        Metric(
            "acc7",
            "Acc-7",
            True,
            _classed(partial(_rounded, 3), scores.accuracy),
            "Equal after clipping to [-3, 3] and rounding half to even.",
        ),
        Metric(
            "acc5",
            "Acc-5",
            True,
            _classed(partial(_rounded, 2), scores.accuracy),
            "Equal after clipping to [-2, 2] and rounding half to even.",
        ),
        Metric(
            "acc3",
            "Acc-3",
            True,
            _classed(partial(_rounded, 1), scores.accuracy),
            "Equal after clipping to [-1, 1] and rounding half to even.",
        ),
        Metric(
            "acc2_has0",
            "Acc-2 Has0",
            True,
            _classed(_has0, scores.accuracy),
            "Negative against non-negative, all samples.",
        ),
        Metric(
            "f1_has0",
            "F1 Has0",
            True,
            _classed(_has0, scores.weighted_f1),
            "Weighted F1 of negative against non-negative, all samples.",
        ),
        Metric(
            "acc2_non0",
            "Acc-2 Non0",
            True,
            _non0(scores.accuracy),
            "Positive or not, samples whose label is not 0; a predicted 0 counts as negative.",
        ),
        Metric(
            "f1_non0",
            "F1 Non0",
            True,
            _non0(scores.weighted_f1),
            "Weighted F1 of positive or not, samples whose label is not 0.",
        ),
        *_SHARES,
    ),
    # Agrees with MetricsTop.__eval_sims_regression of MSE-Adapter (utils/metricsTop.py), which is MMSA's.
    "sims": (
        Metric(
            "mae",
            "MAE",
            False,
            _clipped(scores.mean_absolute_error),
            "Mean absolute error after clipping both sides to [-1, 1].",
        ),
        Metric(
            "corr",
            "Corr",
            True,
            _clipped(scores.pearson_correlation),
            "Pearson's r after clipping both sides to [-1, 1].",
        ),
        Metric(
            "r2",
            "R2",
            True,
            _clipped(scores.r_squared),
            "R squared after clipping both sides to [-1, 1].",
        ),
        Metric(
            "acc2",
            "Acc-2",
            True,
            _classed(partial(_binned, (0.0,)), scores.accuracy),
            "At most 0 against above 0: neutral counts as negative.",
        ),
        Metric(
            "f1",
            "F1",
            True,
            _classed(partial(_binned, (0.0,)), scores.weighted_f1),
            "Weighted F1 of at most 0 against above 0.",
        ),
        Metric("acc2_weak", "Acc-2 weak", True, _weak, "Acc-2 over the samples labelled within [-0.4, 0.4]."),
        Metric(
            "acc3",
            "Acc-3",
            True,
            _classed(partial(_binned, (-0.1, 0.1)), scores.accuracy),
            "Classes with edges at -0.1 and 0.1, closed on the right.",
        ),
        Metric(
            "acc5",
            "Acc-5",
            True,
            _classed(partial(_binned, (-0.7, -0.1, 0.1, 0.7)), scores.accuracy),
            "Classes with edges at -0.7, -0.1, 0.1 and 0.7, closed on the right.",
        ),
        *_SHARES,
    ),
    # Agrees with the accuracy and weighted F1 MSE-Adapter reports for MELD, CHERMA, IEMOCAP (scikit-learn's).
    "erc": (
        Metric(
            "accuracy", "Accuracy", True, _emotion(scores.accuracy), "Share of samples given their class."
        ),
        Metric(
            "weighted_f1",
            "Weighted F1",
            True,
            _emotion(scores.weighted_f1),
            "F1 of each class weighted by its share of the labels.",
        ),
        Metric(
            "macro_f1",
            "Macro F1",
            True,
            _emotion(scores.macro_f1),
            "Mean F1 over the classes present or predicted.",
        ),
        Metric(
            "uar",
            "UAR",
            True,
            _emotion(scores.unweighted_average_recall),
            "Mean recall over the classes present.",
        ),
        _SHARES[1],
    ),
}

_VALIDATION = {"mosei": "mae", "sims": "mae", "erc": "weighted_f1"}
_HEADLINE = {
    "mosei": ("mae", "corr", "acc2_has0"),
    "sims": ("mae", "corr", "acc2"),
    "erc": ("weighted_f1", "accuracy", "macro_f1"),
}


def family_metrics(family: str) -> tuple[Metric, ...]:
    """The metrics of a family, in the order they are shown."""
    if family not in FAMILIES:
        raise UnknownNameError("metric family", family, FAMILIES)
    return FAMILIES[family]


def headline_metrics(family: str) -> tuple[Metric, ...]:
    """The few metrics of a family that a narrow table shows."""
    family_metrics(family)
    return tuple(find_metric(family, name) for name in _HEADLINE[family])


def find_metric(family: str, name: str) -> Metric:
    """One metric of a family by name.

    Raises:
        UnknownNameError: The family has no such metric.
    """
    known = {metric.name: metric for metric in family_metrics(family)}
    if name not in known:
        raise UnknownNameError(f"metric of the family '{family}'", name, known)
    return known[name]


def validation_metric(family: str) -> Metric:
    """The metric for early stopping and the best checkpoint: MAE (lower) or weighted F1 (higher)."""
    family_metrics(family)
    return find_metric(family, _VALIDATION[family])
