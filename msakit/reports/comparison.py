"""Runs side by side: mean and sd over seeds, intervals over samples, paired tests, published figures.

Two groups are comparable when they are of one dataset and were evaluated on the same samples. The
difference of two groups is the difference of their metrics averaged over seeds; its interval and its
p value come from resampling test samples, the same resamples for both sides (paired bootstrap). They
say how far the result depends on which samples are in the test split; the sd over seeds says how far
it depends on the seed. The two are never mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import InputError
from msakit.core.registry.specs import PublishedResult
from msakit.metrics import Metric, family_metrics, find_metric, headline_metrics, validation_metric
from msakit.metrics.bootstrap import holm, interval, num_clusters, p_value, resamples
from msakit.metrics.estimate import Estimate
from msakit.reports.alignment import Aligned, align, choose_clusters, common_split
from msakit.runs.results import RunGroup

NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison.

    Attributes:
        name: The group's, baseline's or published system's name.
        kind: "run", "baseline" or "published".
        estimates: Metric name to estimate over seeds; metrics a publication does not give are not there.
        intervals: Metric name to the two ends of its 95 % interval over samples, of tested metrics.
        seeds: The seeds behind it.
        num_trainable: Trainable parameters, where recorded.
        source: Where a published figure stands.
        confidence: How sure we are of a published figure and of what it measures.
        note: What else to know about a published figure.
    """

    name: str
    kind: str
    estimates: dict[str, Estimate]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
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
        p_holm: The same, corrected for the number of tests in the comparison.
    """

    name: str
    reference: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float = float("nan")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a table needs.

    Attributes:
        cluster: What is drawn together in the bootstrap: "dialogue", "video", "speaker", or "" for nothing.
        num_clusters: How many of them there are.
        remark: What to know about them.
        tested: The metrics with intervals and tests.
    """

    dataset: str
    split: str
    num_samples: int
    num_resamples: int
    cluster: str
    num_clusters: int
    remark: str
    tested: tuple[Metric, ...]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A comparison: runs, metrics and tests.

    Attributes:
        split: Whose predictions; None takes test where all runs have it, else the first they share.
        metric_names: Metrics to show and to test; none shows the headline ones and tests the main one.
        all_metrics: Show all metrics of the family.
        cluster: "dialogue", "video", "speaker", "none", or None to choose what the predictions carry.
        num_resamples: Resamples of the bootstrap; 0 leaves intervals and tests out.
    """

    split: str | None = None
    metric_names: Sequence[str] = ()
    all_metrics: bool = False
    cluster: str | None = None
    num_resamples: int = NUM_RESAMPLES

    def shown(self, family: str) -> tuple[Metric, ...]:
        """The metrics to show."""
        if self.all_metrics:
            return family_metrics(family)
        return tuple(find_metric(family, name) for name in self.metric_names) or headline_metrics(family)

    def tested(self, family: str) -> tuple[Metric, ...]:
        """The metrics to test."""
        chosen = tuple(find_metric(family, name) for name in self.metric_names)
        return () if self.num_resamples <= 0 else chosen or (validation_metric(family),)


def compare_groups(
    groups: Sequence[RunGroup],
    question: Question | None = None,
    *,
    published: Sequence[PublishedResult] = (),
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare groups of runs with the first one, the reference.

    Args:
        groups: At least one; the first is the reference.
        question: What to compare, and how.
        published: Published test results to stand beside them; those of other datasets, and those
            that give none of the shown metrics, are left out.
        advance: Called for every resample (for a progress bar).

    Raises:
        InputError: The groups are of different datasets.
        DataError: They were evaluated on different samples, or on different labels of the same samples.
        UnknownNameError: A metric the family does not have.
    """
    question = question or Question()
    dataset, family = _common_dataset(groups)
    split = question.split or common_split(groups)
    if published and split != "test":
        raise InputError(f"Published figures are of the test split, not of '{split}'.")
    shown, tested = question.shown(family), question.tested(family)
    aligned, first = align(groups, split)
    cluster, clusters, remark = choose_clusters(first, question.cluster)
    draws = resamples(len(first), question.num_resamples if tested else 0, clusters)
    drawn = _draw(aligned, tested, draws, advance)
    names = distinct_names(groups)
    rows = [_run_row(*one, shown, tested) for one in zip(names, aligned, drawn, strict=True)]
    rows += _baseline_rows(groups[0], split, shown)
    rows += [
        row
        for result in published
        if result.dataset == dataset and (row := _published_row(result, shown)).estimates
    ]
    return Comparison(
        dataset=dataset,
        split=split,
        num_samples=len(first),
        num_resamples=question.num_resamples,
        cluster=cluster,
        num_clusters=num_clusters(clusters),
        remark=remark,
        tested=tested,
        metrics=shown,
        rows=tuple(rows),
        differences=tuple(_differences(names, aligned, drawn, tested)),
    )


def _draw(
    aligned: Sequence[Aligned],
    tested: Sequence[Metric],
    draws: Iterable[NDArray[np.int64]],
    advance: Callable[[], None],
) -> NDArray[np.float64]:
    """Every tested metric of every group on every resample: [groups, metrics, draws]."""
    values = []
    for chosen in draws:
        values.append([[side.mean(metric, chosen) for metric in tested] for side in aligned])
        advance()
    shape = (len(values), len(aligned), len(tested))
    return np.asarray(values, np.float64).reshape(shape).transpose(1, 2, 0)


def _run_row(
    name: str,
    side: Aligned,
    drawn: NDArray[np.float64],
    shown: Sequence[Metric],
    tested: Sequence[Metric],
) -> Row:
    """A group's row; `drawn` is [metrics, draws]."""
    return Row(
        name=name,
        kind="run",
        estimates={metric.name: side.estimate(metric) for metric in dict.fromkeys((*shown, *tested))},
        intervals={metric.name: interval(values) for metric, values in zip(tested, drawn, strict=True)},
        seeds=tuple(run.record.seed for run in side.group.runs),
        num_trainable=_num_trainable(side.group),
    )


def _differences(
    names: Sequence[str], aligned: Sequence[Aligned], drawn: NDArray[np.float64], tested: Sequence[Metric]
) -> list[Difference]:
    """Every group but the first against it, in every tested metric, corrected for their number."""
    found = []
    everyone = np.arange(len(aligned[0].labels))
    for place in range(1, len(names)):
        for index, metric in enumerate(tested):
            observed = aligned[place].mean(metric, everyone) - aligned[0].mean(metric, everyone)
            apart = drawn[place, index] - drawn[0, index]
            low, high = interval(apart)
            p = p_value(observed, apart)
            found.append(Difference(names[place], names[0], metric.name, observed, low, high, p))
    corrected = holm([difference.p_value for difference in found])
    return [replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]


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
