"""Runs side by side: mean and sd over seeds, paired bootstrap, published figures.

Two groups are comparable when they are of one dataset and were evaluated on the same samples. The
difference of two groups is the difference of their metrics averaged over seeds; its interval and its
p value come from resampling test samples, the same resamples for both sides (paired bootstrap). They
say how far the result depends on which samples are in the test split; the sd over seeds says how far
it depends on the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import DataError, InputError
from msakit.core.registry.specs import PublishedResult
from msakit.metrics import Metric, family_metrics, find_metric, validation_metric
from msakit.metrics.estimate import Estimate
from msakit.runs.results import RunGroup

NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison.

    Attributes:
        name: The group's, baseline's or published system's name.
        kind: "run", "baseline" or "published".
        estimates: Metric name to estimate; metrics a publication does not give are not there.
        seeds: The seeds behind it.
        num_trainable: Trainable parameters, where recorded.
        source: Where a published figure stands.
        confidence: How sure we are of a published figure and of what it measures.
        note: What else to know about a published figure.
    """

    name: str
    kind: str
    estimates: dict[str, Estimate]
    seeds: tuple[int | None, ...] = ()
    num_trainable: int | None = None
    source: str = ""
    confidence: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A group minus the reference group in one metric.

    Attributes:
        difference: Of the metrics averaged over seeds.
        low: Lower end of the 95 % percentile interval.
        high: Its upper end.
        p_value: Two-sided, of no difference.
    """

    name: str
    reference: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a table needs."""

    dataset: str
    split: str
    num_samples: int
    num_resamples: int
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Aligned:
    """A group's predictions [S, N] in the order of the reference's ids, with the labels [N]."""

    group: RunGroup
    predictions: NDArray[np.float64]
    labels: NDArray[np.float64] = field(repr=False)

    def mean(self, metric: Metric, chosen: NDArray[np.int64] | slice = slice(None)) -> float:
        labels = self.labels[chosen]
        return float(np.mean([metric.function(seed[chosen], labels) for seed in self.predictions]))

    def estimate(self, metric: Metric) -> Estimate:
        return Estimate.over(metric.function(seed, self.labels) for seed in self.predictions)


def compare_groups(
    groups: Sequence[RunGroup],
    *,
    split: str = "test",
    metric_names: Sequence[str] = (),
    published: Sequence[PublishedResult] = (),
    num_resamples: int = NUM_RESAMPLES,
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare groups of runs with the first one, the reference.

    Args:
        groups: At least one; the first is the reference.
        split: Whose predictions are compared.
        metric_names: Metrics to show and to test; none means all are shown and the validation metric tested.
        published: Published test results to stand beside them; those of other datasets, and those
            that give none of the shown metrics, are left out.
        num_resamples: Resamples of the bootstrap; 0 leaves the differences out.
        advance: Called `num_resamples` times for every tested metric of every group (for a progress bar).

    Raises:
        InputError: The groups are of different datasets.
        DataError: They were evaluated on different samples, or on different labels of the same samples.
        UnknownNameError: A metric the family does not have.
    """
    dataset, family = _common_dataset(groups)
    if published and split != "test":
        raise InputError(f"Published figures are of the test split, not of '{split}'.")
    shown = tuple(find_metric(family, name) for name in metric_names) or family_metrics(family)
    tested = shown if metric_names else (validation_metric(family),)
    aligned = _align(groups, split)
    rows = [
        Row(
            name=name,
            kind="run",
            estimates={metric.name: side.estimate(metric) for metric in shown},
            seeds=tuple(run.record.seed for run in side.group.runs),
            num_trainable=_num_trainable(side.group),
        )
        for name, side in zip(distinct_names(groups), aligned, strict=True)
    ]
    rows += _baseline_rows(groups[0], split, shown)
    rows += [
        row
        for result in published
        if result.dataset == dataset and (row := _published_row(result, shown)).estimates
    ]
    names = [row.name for row in rows]
    differences = [
        difference
        for name, side in zip(names[1 : len(groups)], aligned[1:], strict=True)
        for metric in tested
        if (difference := _test(name, side, names[0], aligned[0], metric, num_resamples, advance))
    ]
    return Comparison(
        dataset, split, len(aligned[0].labels), num_resamples, shown, tuple(rows), tuple(differences)
    )


def paired_bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    num_samples: int,
    num_resamples: int,
) -> tuple[float, float, float, float]:
    """A difference, the two ends of its 95 % percentile interval and its two-sided p value.

    The p value is the share of resamples whose difference lies at least as far from the observed one
    as the observed one from zero (Efron and Tibshirani 1993, chapter 16), counting the observation
    itself, so that it is never 0. Resamples whose statistic is undefined are left out.

    Args:
        statistic: Difference of the two sides on the samples with these indices.
        num_samples: Number of samples to draw from.
        num_resamples: How often to draw. The draws are the same for every call.
    """
    observed = statistic(np.arange(num_samples))
    generator = np.random.default_rng(0)
    drawn = np.array(
        [statistic(generator.integers(0, num_samples, num_samples)) for _ in range(num_resamples)]
    )
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(observed) or not drawn.size:
        return observed, float("nan"), float("nan"), float("nan")
    low, high = np.percentile(drawn, [2.5, 97.5])
    # Differences of sums taken in another order are equal only up to rounding.
    extreme = np.abs(drawn - observed) >= abs(observed) - 1e-12
    return observed, float(low), float(high), float((1 + extreme.sum()) / (1 + drawn.size))


def distinct_names(groups: Sequence[RunGroup]) -> list[str]:
    """Folder names, with as many parent folders in front as it takes to tell them apart."""
    parts = [group.path.resolve().parts for group in groups]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError("The same run is given twice.")


def _num_trainable(group: RunGroup) -> int | None:
    parameters = group.runs[0].record.parameters
    return parameters.trainable if parameters else None


def _common_dataset(groups: Sequence[RunGroup]) -> tuple[str, str]:
    if not groups:
        raise InputError("There is nothing to compare.", hint="Give the folder of at least one run.")
    first = groups[0].runs[0]
    for run in (run for group in groups for run in group.runs):
        theirs, ours = run.record, first.record
        if (theirs.dataset, theirs.family) != (ours.dataset, ours.family):
            msg = f"{run.path} is a run on {theirs.dataset}, {first.path} one on {ours.dataset}."
            raise InputError(msg, hint="Compare runs on one dataset at a time.")
    return first.record.dataset, first.record.family


def _align(groups: Sequence[RunGroup], split: str) -> list[_Aligned]:
    """Every group's predictions in the order of the very first run's ids."""
    reference = groups[0].runs[0]
    first = reference.predictions(split)
    order = {sample: position for position, sample in enumerate(first.ids)}
    if len(order) != len(first.ids):
        raise DataError(f"{reference.path}: {len(first.ids) - len(order)} sample ids occur more than once.")
    aligned = []
    for group in groups:
        rows = []
        for run in group.runs:
            found = run.predictions(split)
            if set(found.ids) != set(order) or len(found.ids) != len(order):
                shared = len(set(found.ids) & set(order))
                msg = (
                    f"{run.path} was evaluated on other {split} samples than {reference.path}: "
                    f"{len(found.ids)} and {len(order)} samples, {shared} of them shared."
                )
                raise DataError(msg, hint="Evaluate both on the same store and split, then compare again.")
            places = np.array([order[sample] for sample in found.ids])
            values, labels = np.empty(len(order)), np.empty(len(order))
            values[places], labels[places] = found.values, found.labels
            if not np.allclose(labels, first.labels, atol=1e-6):
                changed = int((~np.isclose(labels, first.labels, atol=1e-6)).sum())
                raise DataError(f"{run.path}: {changed} samples have other labels than in {reference.path}.")
            rows.append(values)
        aligned.append(_Aligned(group, np.stack(rows), first.labels))
    return aligned


def _test(
    name: str,
    side: _Aligned,
    reference_name: str,
    reference: _Aligned,
    metric: Metric,
    num_resamples: int,
    advance: Callable[[], None],
) -> Difference | None:
    if num_resamples <= 0:
        return None

    def difference(chosen: NDArray[np.int64]) -> float:
        advance()
        return side.mean(metric, chosen) - reference.mean(metric, chosen)

    observed, low, high, p_value = paired_bootstrap(difference, len(side.labels), num_resamples)
    return Difference(name, reference_name, metric.name, observed, low, high, p_value)


def _baseline_rows(group: RunGroup, split: str, shown: Sequence[Metric]) -> list[Row]:
    return [
        Row(
            name=f"{name} of the training labels",
            kind="baseline",
            estimates={
                metric.name: Estimate.over([values[metric.name]]) for metric in shown if metric.name in values
            },
        )
        for name, values in group.runs[0].baselines(split).items()
    ]


def _published_row(result: PublishedResult, shown: Sequence[Metric]) -> Row:
    values = {metric.name: result.metrics[metric.name] for metric in shown if metric.name in result.metrics}
    return Row(
        name=f"{result.system} ({result.backbone})" if result.backbone else result.system,
        kind="published",
        estimates={key: Estimate.over([value]) for key, value in values.items()},
        source=result.source,
        confidence=result.confidence,
        note=result.note,
    )
