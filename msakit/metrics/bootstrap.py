"""How far a number depends on which samples happen to be in a split: bootstrap by sample or by cluster.

Utterances of one dialogue, video or speaker resemble each other, so what is drawn is the whole cluster
(Davison and Hinkley 1997, section 3.8); drawn one by one, intervals come out too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.metrics.scores import Floats


def resamples(num_samples: int, count: int, clusters: Sequence[str] = ()) -> Iterator[NDArray[np.int64]]:
    """Draws with replacement, the same for every call: sample indices of each.

    Args:
        num_samples: Number of samples (N).
        count: How many draws.
        clusters: N cluster names, of which whole clusters are drawn; a sample named "" stands alone.
    """
    generator = np.random.default_rng(0)
    members = _members(clusters)
    for _ in range(count):
        if members:
            chosen = generator.integers(0, len(members), len(members))
            yield np.concatenate([members[index] for index in chosen])
        else:
            yield generator.integers(0, num_samples, num_samples)


def num_clusters(clusters: Sequence[str]) -> int:
    """How many clusters there are; a sample named "" is one of its own."""
    return len(set(clusters) - {""}) + sum(not name for name in clusters)


def _members(clusters: Sequence[str]) -> list[NDArray[np.int64]]:
    """The sample indices of each cluster."""
    found: dict[str | int, list[int]] = {}
    for index, name in enumerate(clusters):
        found.setdefault(name or index, []).append(index)
    return [np.array(indices, np.int64) for indices in found.values()]


def interval(drawn: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over resamples; undefined resamples are left out."""
    found = drawn[~np.isnan(drawn)]
    if not found.size:
        return float("nan"), float("nan")
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def p_value(observed: float, drawn: Floats) -> float:
    """Two-sided p value of a difference being zero.

    The share of resamples whose difference lies at least as far from the observed one as the observed
    one from zero (Efron and Tibshirani 1993, chapter 16), counting the observation itself, so that it is
    never 0. Resamples whose difference is undefined are left out.

    Args:
        observed: The difference over all samples.
        drawn: The difference over each resample.
    """
    found = drawn[~np.isnan(drawn)]
    if np.isnan(observed) or not found.size:
        return float("nan")
    # Differences of sums taken in another order are equal only up to rounding.
    extreme = np.abs(found - observed) >= abs(observed) - 1e-12
    return float((1 + extreme.sum()) / (1 + found.size))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979): below 0.05 all of them hold with 95 % confidence.

    An undefined one (NaN) is no test: it stays as it is and is not counted.
    """
    adjusted = [float("nan")] * len(p_values)
    order = [int(index) for index in np.argsort(p_values) if not np.isnan(p_values[index])]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
