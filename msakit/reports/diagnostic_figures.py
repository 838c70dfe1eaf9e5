"""Figures of what a fuser shows: weights and scalars over a split, attention maps of single samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from msakit.metrics.scores import Floats
from msakit.reports.figures import BLUE, SERIES, Figure, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from msakit.core.interfaces import Diagnostic

_MOST_VECTOR_ENTRIES = 8
_ATTENTION = "attention, mean over heads"


def diagnostic_histogram(name: str, values: Floats, entries: Sequence[str] = ()) -> Figure:
    """Distribution over samples of a diagnostic [N] or [N, J], or mean and sd of each entry if J is large.

    Args:
        name: What it is.
        values: [N] or [N, J].
        entries: Names of the J entries; their numbers where there are none.
    """
    table = values.reshape(len(values), -1)
    if table.shape[1] > _MOST_VECTOR_ENTRIES:
        return _diagnostic_profile(name, table)
    finite = table[np.isfinite(table)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    edges = np.linspace(low, high + 1e-9, 31).tolist()

    def paint(axes: Axes) -> None:
        for index, colour in zip(range(table.shape[1]), SERIES, strict=False):
            column = table[:, index]
            entry = entries[index] if index < len(entries) else str(index)
            mean = f"mean {np.nanmean(column):.3f}" if np.isfinite(column).any() else "none"
            label = f"{entry}: {mean}"
            axes.hist(
                column[np.isfinite(column)], bins=edges, histtype="stepfilled", color=colour, alpha=0.35
            )
            axes.hist(column[np.isfinite(column)], bins=edges, histtype="step", color=colour, label=label)
        axes.set(xlabel=name, ylabel="samples")
        if table.shape[1] > 1:
            axes.legend(frameon=False, fontsize=9)

    return Figure(name, f"Over {len(values)} samples.", draw(paint))


def _diagnostic_profile(name: str, table: Floats) -> Figure:
    def paint(axes: Axes) -> None:
        mean, spread = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
        places = np.arange(table.shape[1])
        axes.fill_between(places, mean - spread, mean + spread, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(places, mean, color=BLUE)
        axes.set(xlabel="entry", ylabel=name)

    return Figure(name, f"Mean and standard deviation over {len(table)} samples.", draw(paint))


def attention_maps(
    maps: Mapping[str, Floats],
    tokens: Sequence[str],
    described: Mapping[str, Diagnostic],
    frame_shifts_s: Mapping[str, float | None],
    sample: str = "",
) -> list[Figure]:
    """Maps of one sample: words against seconds where its tokens and frame shifts are known.

    A fuser that sees the text as one state attends from there alone: bars over the seconds.

    Args:
        maps: Diagnostic to weights [rows, columns].
        tokens: The utterance, token by token; when there are as many as rows, they name them.
        described: Diagnostic to its description, whose entries name the streams of rows and columns.
        frame_shifts_s: Modality to seconds between frames, None where that is not known.
        sample: Its id, for the title.
    """
    drawn = []
    for name, values in maps.items():
        rows, columns = described[name].entries if name in described else ("", name)
        shift, words = frame_shifts_s.get(columns), tokens if rows == "text" else ()
        if len(values) == 1:
            figure = draw(partial(_paint_row, values[0], shift), width=7.2, height=2.6)
        else:
            height = min(20.0, max(2.6, 1.4 + 0.24 * len(values)))
            figure = draw(partial(_paint_map, values, shift, rows, words), width=7.2, height=height)
        title = f"{rows} over {columns}" if rows else name
        drawn.append(Figure(f"{sample}: {title}" if sample else title, "", figure))
    return drawn


def _paint_map(values: Floats, shift_s: float | None, rows: str, words: Sequence[str], axes: Axes) -> None:
    extent = (0.0, values.shape[1] * (shift_s or 1.0), len(values) - 0.5, -0.5)
    image = axes.imshow(values, cmap="viridis", aspect="auto", interpolation="nearest", extent=extent)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label=_ATTENTION)
    if len(words) == len(values):
        axes.set_yticks(range(len(words)), [word.strip() or word for word in words])
    axes.set(xlabel=_time(shift_s), ylabel=rows or "position")


def _paint_row(weights: Floats, shift_s: float | None, axes: Axes) -> None:
    """One row is read better as bars than as colours."""
    width = shift_s or 1.0
    axes.bar(np.arange(len(weights)) * width, weights, width, align="edge", color=BLUE)
    axes.set(xlim=(0.0, len(weights) * width), xlabel=_time(shift_s), ylabel=_ATTENTION)


def _time(shift_s: float | None) -> str:
    return "frame" if shift_s is None else "seconds"
