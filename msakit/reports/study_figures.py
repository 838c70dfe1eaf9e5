"""Figures of several systems: their metric with intervals, their training curves over each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from msakit.metrics import Metric
from msakit.reports.comparison import Comparison
from msakit.reports.figures import BLUE, GREY, ORANGE, SERIES, Figure, draw
from msakit.runs.results import RunGroup, RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTWARDS = (
    ("right", -4),
    ("left", 4),
)  # Labels of the lower and the higher constant, and their shift in points.


def system_bars(found: Comparison, metric: Metric) -> Figure:
    """Each system's mean with its interval over samples and its seeds; constant answers as lines."""
    runs = [row for row in found.rows if row.kind == "run"]
    constants = sorted(
        (row.estimates[metric.name].mean, row.name) for row in found.rows if row.kind == "baseline"
    )

    def paint(axes: Axes) -> None:
        for place, row in enumerate(runs):
            estimate, (low, high) = row.estimates[metric.name], row.intervals[metric.name]
            axes.barh(place, estimate.mean, color=BLUE, alpha=0.25, height=0.62)
            axes.plot([low, high], [place, place], color=BLUE, linewidth=2, solid_capstyle="butt")
            axes.plot([estimate.mean], [place], "|", color=BLUE, markersize=13, markeredgewidth=2)
            axes.plot(
                estimate.values, [place] * len(estimate.values), "o", color=ORANGE, markersize=4, alpha=0.9
            )
        for (value, name), (side, shift) in zip(constants, OUTWARDS, strict=False):
            axes.axvline(value, color=GREY, linewidth=1, linestyle="--")
            axes.annotate(
                name.split()[0], (value, -0.7), (shift, 0), textcoords="offset points",
                fontsize=8, color=GREY, ha=side, va="bottom",
            )  # fmt: skip
        axes.set_yticks(range(len(runs)), [row.name for row in runs])
        axes.set_ylim(len(runs) - 0.4, -0.9)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=f"{metric.title} ({'higher' if metric.higher_is_better else 'lower'} is better)")

    caption = (
        "Bar and tick: mean over seeds. Line: 95 % interval over samples. Dots: single seeds. "
        "Dashed: constant answers learnt from the training labels."
    )
    return Figure(metric.title, caption, draw(paint, width=6.8, height=1.5 + 0.45 * len(runs)))


def validation_curves(groups: Sequence[RunGroup], names: Sequence[str], metric: Metric) -> list[Figure]:
    """The validation metric by epoch, all systems in one drawing: thin each seed, thick their mean.

    Nothing where no run has a second epoch: a point is no curve.
    """
    curves = [
        (name, [points for run in group.runs if (points := _points(run, metric))])
        for name, group in zip(names, groups, strict=False)
    ]
    curves = [(name, seeds) for name, seeds in curves if seeds]
    if not any(len(points) > 1 for _, seeds in curves for points in seeds):
        return []

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for index, (name, seeds) in enumerate(curves):
            colour = SERIES[index % len(SERIES)]
            style = "-" if index < len(SERIES) else "--"
            by_epoch: dict[int, list[float]] = defaultdict(list)
            for points in seeds:
                axes.plot(*zip(*points, strict=True), color=colour, alpha=0.3, linewidth=0.8, linestyle=style)
                for epoch, value in points:
                    by_epoch[epoch].append(value)
            mean = [float(np.mean(by_epoch[epoch])) for epoch in sorted(by_epoch)]
            axes.plot(sorted(by_epoch), mean, color=colour, linewidth=2, linestyle=style, marker="o",
                      markersize=3, label=name)  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=f"validation {metric.title}")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    caption = "Thick: mean over the seeds that reached the epoch. Thin: each seed."
    return [Figure(f"Validation {metric.title}", caption, draw(paint, width=6.8, height=3.4))]


def _points(run: RunResult, metric: Metric) -> list[tuple[int, float]]:
    """Epoch and validation metric, as logged."""
    return [
        (int(entry["epoch"]), float(entry[metric.name]))
        for entry in run.history
        if entry.get("split") == "valid" and isinstance(entry.get(metric.name), int | float)
    ]
