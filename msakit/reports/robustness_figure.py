"""The picture of `msakit robustness`: a metric against the share of samples that lack a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from msakit.reports.figures import GREY, SERIES, Figure, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from msakit.metrics import Metric

MeanAndDeviation = tuple["Sequence[float]", "Sequence[float]"]


def robustness_figure(
    rates: Sequence[float], curves: Mapping[str, MeanAndDeviation], metric: Metric
) -> Figure:
    """One line a stream with a band of one standard deviation over seeds.

    Args:
        rates: Shares of the samples, 0 to 1.
        curves: Stream to mean and deviation at each rate.
        metric: What is measured.
    """

    def paint(axes: Axes) -> None:
        for (stream, (mean, deviation)), colour in zip(curves.items(), SERIES, strict=False):
            values, spread = np.array(mean), np.array(deviation)
            axes.plot(rates, values, color=colour, marker="o", markersize=4, label=stream)
            axes.fill_between(rates, values - spread, values + spread, color=colour, alpha=0.15, linewidth=0)
        axes.axhline(next(iter(curves.values()))[0][0], color=GREY, linewidth=1, linestyle=":")
        axes.set(xlabel="share of samples that lack the stream", ylabel=metric.title)
        axes.legend(frameon=False, fontsize=9)

    better = "higher" if metric.higher_is_better else "lower"
    caption = f"Mean and standard deviation over seeds; {better} is better. Dotted: at the lowest rate."
    return Figure("Missing modalities", caption, draw(paint))
