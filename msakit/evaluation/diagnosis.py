"""Diagnosis of a run in numbers: the findings on one split, and how they are computed.

Legend: N samples, J entries of a diagnostic, L text tokens, T frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msakit.core.interfaces import Diagnostic
from msakit.metrics.scores import Floats
from msakit.runs.record import Truncation

ONE_HOT_WEIGHT = 0.95
UNIFORM_MARGIN = 0.02
CONSTANT_DEVIATION = 0.01
PROFILE_BINS = 20


@dataclass(frozen=True, slots=True)
class WeightsSummary:
    """How weights that sum to one are spread.

    Attributes:
        mean: Entry to its mean weight over samples.
        deviation: Entry to the standard deviation of its weight over samples.
        effective: Mean over samples of exp of the entropy: how many entries a sample uses, 1 to J.
        one_hot_share: Share of samples that give one entry more than 0.95.
        uniform_share: Share of samples whose weights are all within 0.02 of 1/J.
        varies: Whether any weight's deviation over samples exceeds 0.01.
    """

    mean: dict[str, float]
    deviation: dict[str, float]
    effective: float
    one_hot_share: float
    uniform_share: float
    varies: bool


@dataclass(frozen=True, slots=True)
class Dependency:
    """How well the run does with some of its streams alone.

    Attributes:
        streams: The streams that were there.
        metrics: Headline metrics.
    """

    streams: tuple[str, ...]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings on one split.

    Attributes:
        split: Whose samples.
        num_samples: How many of them.
        dependency: Every choice of streams, all of them first.
        weights: Diagnostic of weights to how they are spread.
        scalars: Diagnostic of scalars to the mean of each entry.
        survival: CKA of the fused features and the pseudo tokens made of them; None without pseudo tokens.
        attention: Map to the attention over 20 equal parts of the clip, of its first samples.
        truncation: How many utterances were cut.
        complaints: What the fuser says of itself, and what else should be looked at.
        described: How to read the diagnostics.
        samples: Diagnostics [N, J] or [N] the summaries were made of, for drawing.
    """

    split: str
    num_samples: int
    dependency: tuple[Dependency, ...]
    weights: dict[str, WeightsSummary]
    scalars: dict[str, Mapping[str, float]]
    survival: float | None
    attention: dict[str, list[float]]
    truncation: Truncation
    complaints: tuple[str, ...]
    described: Mapping[str, Diagnostic]
    samples: Mapping[str, NDArray[np.float64]]


def summarise_weights(weights: Floats, entries: Sequence[str]) -> WeightsSummary:
    """Summarise weights [N, J] of the J named entries."""
    means, deviations = weights.mean(axis=0), weights.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(weights > 0, -weights * np.log(weights), 0.0)
    even = np.abs(weights - 1 / len(entries)).max(axis=1) < UNIFORM_MARGIN
    return WeightsSummary(
        mean=dict(zip(entries, means.tolist(), strict=True)),
        deviation=dict(zip(entries, deviations.tolist(), strict=True)),
        effective=float(np.exp(surprise.sum(axis=1)).mean()),
        one_hot_share=float((weights.max(axis=1) > ONE_HOT_WEIGHT).mean()),
        uniform_share=float(even.mean()),
        varies=bool(deviations.max() > CONSTANT_DEVIATION),
    )


def linear_cka(first: Floats, second: Floats) -> float:
    """Similarity of two representations of the same samples, 0 to 1 (Kornblith et al. 2019, eq. 3).

    1 where one is the other up to rotation and a common scale; NaN where either does not vary.

    Args:
        first: [N, D1].
        second: [N, D2].
    """
    grams = []
    for values in (first, second):
        centred = values - values.mean(axis=0)
        grams.append(centred @ centred.T)
    norms = np.linalg.norm(grams[0]) * np.linalg.norm(grams[1])
    return float((grams[0] * grams[1]).sum() / norms) if norms > 0 else float("nan")


def attention_profile(maps: Iterable[NDArray[np.float64]]) -> list[float]:
    """Mean attention over relative time, in 20 equal parts of a clip; sums to 1.

    Args:
        maps: Attention [L, T] of each sample; its rows sum to 1.
    """
    total, count = np.zeros(PROFILE_BINS), 0
    for values in maps:
        if not values.size:
            continue
        frames = values.mean(axis=0)
        # A frame that straddles two parts is shared between them.
        edges = np.linspace(0, 1, len(frames) + 1)
        cumulative = np.interp(np.linspace(0, 1, PROFILE_BINS + 1), edges, np.append(0, np.cumsum(frames)))
        total += np.diff(cumulative)
        count += 1
    return [float(share) for share in total / max(count, 1)]


def subsets(streams: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of streams to leave out: nothing, each, pairs, all but one; never all."""
    return [left_out for count in range(len(streams)) for left_out in itertools.combinations(streams, count)]


def mean_of_entries(values: Floats, entries: Sequence[str]) -> Mapping[str, float]:
    """Mean over samples of each named entry of scalars [N, J], or of [N] under the name ""."""
    table = values.reshape(len(values), -1)
    return dict(zip(entries or ("",), np.nanmean(table, axis=0).tolist(), strict=False))
