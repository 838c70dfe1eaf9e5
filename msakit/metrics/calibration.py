"""Whether probabilities mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msakit.metrics.scores import Floats

NUM_BINS = 10


def confidence_bins(confidence: Floats) -> NDArray[np.int64]:
    """Which of ten equal bins of [0, 1] each probability [N] falls into."""
    return np.minimum((confidence * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def expected_calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Mean |confidence - accuracy| over ten equal bins, weighted by their samples (Guo et al. 2017)."""
    bins = confidence_bins(confidence)
    gaps = [abs(float((confidence - correct)[bins == index].sum())) for index in range(NUM_BINS)]
    return sum(gaps) / len(confidence)


def interval_coverage(labels: Floats, probabilities: Floats, answers: Floats) -> tuple[Floats, Floats]:
    """Nominal and observed coverage of central intervals of the answer distribution.

    Args:
        labels: [N] scores.
        probabilities: [N, A].
        answers: [A] score of each answer, ascending.

    Returns:
        Nominal coverage [Q], and the share of labels inside the interval [Q].
    """
    cumulative = np.cumsum(probabilities / probabilities.sum(1, keepdims=True), axis=1)
    half_step = float(np.diff(answers).min()) / 2 + 1e-9
    nominal = np.linspace(0.1, 0.9, 9)
    observed = []
    for level in nominal:
        low = answers[(cumulative >= (1 - level) / 2).argmax(1)] - half_step
        high = answers[(cumulative >= (1 + level) / 2 - 1e-12).argmax(1)] + half_step
        observed.append(float(((labels >= low) & (labels <= high)).mean()))
    return nominal, np.array(observed)
