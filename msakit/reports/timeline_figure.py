"""The picture of a timeline: answers over the length of a recording, the words of each segment under them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msakit.reports.figures import GREY, SERIES, Figure, draw_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_PER_ROW = 8  # segments side by side that leave room for their words
_WIDTH = 10.0
_CURVE_HEIGHT, _LINE_HEIGHT = 1.7, 0.15
_LETTERS = 125  # of a line of words across the whole width
_MOST_LINES = 12
_MOST_CURVES = len(SERIES)


@dataclass(frozen=True, slots=True)
class Course:
    """What is drawn of a recording of N segments.

    Attributes:
        bounds: Start and end of each segment, in seconds.
        curves: Name to N values: one score, or the probability of each class; NaN where there is no answer.
        means: The same names to the value for the whole recording.
        words: What is said in each segment.
        limits: Lowest and highest value there can be; None where that is unknown.
    """

    bounds: Sequence[tuple[float, float]]
    curves: Mapping[str, Sequence[float]]
    means: Mapping[str, float]
    words: Sequence[str]
    limits: tuple[float, float] | None = None


def timeline_figure(title: str, course: Course) -> Figure:
    """Each value over time as a step as long as its segment, dashed its mean over the recording.

    With words, a recording of many segments is drawn in rows, one below the other, like text.

    Args:
        title: Name of the recording.
        course: What is drawn. Of more classes than there are colours, the likeliest.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = len(course.bounds)
    per_row = _PER_ROW if any(course.words) else count
    rows = [range(at, min(at + per_row, count)) for at in range(0, count, per_row)]
    words = [_wrapped(course, row) for row in rows]
    heights = [_LINE_HEIGHT * max(said.count("\n") + 1 for said in row) for row in words]

    def paint(canvas: Canvas) -> None:
        canvas.suptitle(title, x=0.01, ha="left", fontsize=10)
        parts = [part for height in heights for part in (_CURVE_HEIGHT, height)]
        axes = canvas.subplots(len(parts), 1, squeeze=False, height_ratios=parts)[:, 0]
        for row, said, above, below in zip(rows, words, axes[::2], axes[1::2], strict=True):
            _paint_row(above, course, row)
            _write_words(below, above, course, row, said)
        if len(course.curves) > 1:
            axes[0].legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))

    height = sum(heights) + (0.5 + _CURVE_HEIGHT) * len(rows) + 0.3
    caption = "One step a segment; dashed: mean over the recording, weighted by the segments' lengths."
    return Figure(title, caption, draw_all(paint, width=_WIDTH, height=height))


def _paint_row(axes: Axes, course: Course, row: range) -> None:
    names = sorted(course.curves, key=lambda name: -course.means.get(name, 0.0))[:_MOST_CURVES]
    for name, colour in zip(names, SERIES, strict=False):
        drawn = [course.bounds[at] for at in row]
        values = [course.curves[name][at] for at in row]
        axes.hlines(values, *zip(*drawn, strict=True), color=colour, linewidth=3, label=name)
        middles = [(start + end) / 2 for start, end in drawn]
        axes.plot(middles, values, color=colour, linewidth=0.8, alpha=0.6)
        if name in course.means:
            axes.axhline(course.means[name], color=colour, linewidth=1, linestyle="--")
    for at in row:
        if all(math.isnan(values[at]) for values in course.curves.values()):
            axes.axvspan(*course.bounds[at], color=GREY, alpha=0.25, linewidth=0)
    if len(course.curves) == 1:
        axes.axhline(0, color=GREY, linewidth=1)
    axes.set(ylabel=next(iter(course.curves)) if len(course.curves) == 1 else "probability")
    if course.limits:
        margin = 0.05 * (course.limits[1] - course.limits[0])
        axes.set_ylim(course.limits[0] - margin, course.limits[1] + margin)
    axes.set_xlim(course.bounds[row[0]][0], max(course.bounds[at][1] for at in row))
    axes.xaxis.set_major_formatter(_clock)


def _write_words(axes: Axes, above: Axes, course: Course, row: range, said: Sequence[str]) -> None:
    axes.axis("off")
    axes.set_xlim(above.get_xlim())
    for at, text in zip(row, said, strict=True):
        axes.text(course.bounds[at][0], 1, text, fontsize=7, va="top", ha="left")


def _wrapped(course: Course, row: range) -> list[str]:
    """Each segment's words in lines as wide as the segment, what is too much cut off."""
    span = max(course.bounds[at][1] for at in row) - course.bounds[row[0]][0]
    wrapped = []
    for at in row:
        start, end = course.bounds[at]
        letters = max(6, int(_LETTERS * (end - start) / span))
        lines = textwrap.wrap(course.words[at], letters, max_lines=_MOST_LINES, placeholder=" …")
        wrapped.append("\n".join(lines))
    return wrapped


def _clock(seconds: float, _: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}:{rest:04.1f}".removesuffix(".0")
