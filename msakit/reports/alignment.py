"""Predictions of several groups of runs on the same samples, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import DataError, InputError
from msakit.metrics import Metric
from msakit.metrics.bootstrap import num_clusters
from msakit.metrics.estimate import Estimate
from msakit.runs.predictions import GROUPS, Predictions
from msakit.runs.results import RunGroup, RunResult

FEWEST_CLUSTERS = 10
"""So many at least must there be for a cluster to be chosen without being asked for."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """A group's predictions [S, N] in the order of the reference's ids, with the labels [N]."""

    group: RunGroup
    predictions: NDArray[np.float64]
    labels: NDArray[np.float64] = field(repr=False)

    def mean(self, metric: Metric, chosen: NDArray[np.int64]) -> float:
        """The metric on some samples, averaged over seeds."""
        labels = self.labels[chosen]
        return float(np.mean([metric.function(seed[chosen], labels) for seed in self.predictions]))

    def estimate(self, metric: Metric) -> Estimate:
        """The metric on all samples, over seeds."""
        return Estimate.over(metric.function(seed, self.labels) for seed in self.predictions)


def align(groups: Sequence[RunGroup], split: str) -> tuple[list[Aligned], Predictions]:
    """Every group's predictions in the order of the very first run's, and that run's table.

    Raises:
        DataError: They were evaluated on different samples, or on different labels of the same samples.
    """
    reference = groups[0].runs[0]
    first = reference.predictions(split)
    if repeated := len(first.ids) - len(set(first.ids)):
        raise DataError(f"{reference.path}: {repeated} sample ids occur more than once.")
    return [
        Aligned(
            group, np.stack([_in_order(run, split, reference, first) for run in group.runs]), first.labels
        )
        for group in groups
    ], first


def _in_order(run: RunResult, split: str, reference: RunResult, first: Predictions) -> NDArray[np.float64]:
    """A run's predicted values [N] in the order of the reference's ids."""
    found = run.predictions(split)
    places = {sample: place for place, sample in enumerate(found.ids)}
    if places.keys() != set(first.ids) or len(places) != len(found.ids):
        shared = len(places.keys() & set(first.ids))
        msg = (
            f"{run.path} was evaluated on other {split} samples than {reference.path}: "
            f"{len(found.ids)} and {len(first.ids)} samples, {shared} of them shared."
        )
        raise DataError(msg, hint="Evaluate both on the same store and split, then compare again.")
    order = [places[sample] for sample in first.ids]
    changed = int((~np.isclose(found.labels[order], first.labels, atol=1e-6)).sum())
    if changed:
        raise DataError(f"{run.path}: {changed} samples have other labels than in {reference.path}.")
    return found.values[order]


def common_split(groups: Sequence[RunGroup]) -> str:
    """The split to compare when none is named: test where all have it, else the first that all have.

    Raises:
        InputError: There is none.
    """
    shared = set.intersection(*(set(run.splits) for group in groups for run in group.runs))
    if not shared:
        found = "; ".join(f"{r.path}: {', '.join(r.splits) or 'none'}" for g in groups for r in g.runs)
        raise InputError(
            f"The runs have no evaluated split in common ({found}).", hint="Use msakit evaluate."
        )
    return "test" if "test" in shared else min(shared)


def choose_clusters(found: Predictions, wanted: str | None) -> tuple[str, tuple[str, ...], str]:
    """The group of each sample that is resampled together, and a note about it.

    Args:
        found: Predictions that carry the groups.
        wanted: "dialogue", "video" or "speaker"; "none" for samples one by one; None for the first of
            the three that is known and has enough of them.

    Raises:
        InputError: A cluster was asked for that the predictions do not carry.
    """
    if wanted == "none":
        return "", (), ""
    if wanted is not None:
        if wanted not in found.groups:
            known = ", ".join(found.groups) or "none"
            msg = f"The predictions carry no {wanted} (they carry: {known})."
            raise InputError(
                msg, hint="Evaluate again on a store that has the column, or use --cluster none."
            )
        count = num_clusters(found.groups[wanted])
        few = f"Only {count} clusters: intervals from so few are rough."
        return wanted, found.groups[wanted], few if count < FEWEST_CLUSTERS else ""
    small = []
    for name in (name for name in GROUPS if name in found.groups):
        count = num_clusters(found.groups[name])
        if count >= FEWEST_CLUSTERS:
            return name, found.groups[name], ""
        small.append(f"{count} by {name}")
    few = f"Samples are taken as independent: there are too few clusters to draw ({', '.join(small)})."
    return "", (), few if small else ""
