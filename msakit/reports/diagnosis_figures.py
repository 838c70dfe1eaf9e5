"""The pictures of `msakit diagnose`: what each modality gives, the gate's weights, attention over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from msakit.reports.diagnostic_figures import diagnostic_histogram
from msakit.reports.figures import BLUE, GREY, SERIES, Figure, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from msakit.evaluation.diagnosis import Diagnosis
    from msakit.metrics import Metric


def diagnosis_figures(found: Diagnosis, metric: Metric) -> dict[str, Figure]:
    """File name to picture; those the run has something to show for."""
    drawn = {"modalities": _dependency(found, metric)}
    for name, values in found.samples.items():
        described = found.described.get(name)
        title = described.title if described else name
        drawn[name] = diagnostic_histogram(title, values, described.entries if described else ())
    if found.attention:
        titles = {name: found.described[name].title for name in found.attention if name in found.described}
        drawn["attention"] = _attention(found.attention, titles)
    return drawn


def _dependency(found: Diagnosis, metric: Metric) -> Figure:
    """The main metric with every choice of streams."""
    labels = [" + ".join(one.streams) for one in found.dependency]
    values = [one.metrics[metric.name] for one in found.dependency]

    def paint(axes: Axes) -> None:
        places = np.arange(len(values))
        colours = [BLUE, *([GREY] * (len(values) - 1))]
        axes.barh(places, np.nan_to_num(values), color=colours, height=0.65)
        axes.axvline(values[0], color=BLUE, linewidth=1, linestyle=":")
        for place, value in enumerate(values):
            axes.text(float(np.nan_to_num(value)), place, f" {metric.show(value)}", va="center", fontsize=9)
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=metric.title)

    better = "higher" if metric.higher_is_better else "lower"
    caption = f"With these streams alone, the others absent; {better} is better. Dotted: with all of them."
    return Figure("What each modality gives", caption, draw(paint, width=6.4, height=1.2 + 0.4 * len(values)))


def _attention(profiles: Mapping[str, Sequence[float]], titles: Mapping[str, str]) -> Figure:
    """Mean attention over relative time."""

    def paint(axes: Axes) -> None:
        for (name, profile), colour in zip(profiles.items(), SERIES, strict=False):
            edges = np.linspace(0, 1, len(profile) + 1)
            axes.stairs(np.array(profile), edges, color=colour, label=titles.get(name, name))
        axes.axhline(1 / len(next(iter(profiles.values()))), color=GREY, linewidth=1, linestyle=":")
        axes.set(xlabel="time, share of the clip", ylabel="attention", ylim=(0, None))
        axes.legend(frameon=False, fontsize=9)

    caption = "Mean over words, heads and the first samples. Dotted: the same everywhere."
    return Figure("Attention over time", caption, draw(paint))
