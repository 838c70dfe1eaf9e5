"""The figures of a report, as self-contained SVG.

Drawn with matplotlib's object interface: no global state, nothing left behind in the caller's pyplot.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import MissingExtraError
from msakit.metrics.calibration import (
    NUM_BINS,
    confidence_bins,
    expected_calibration_error,
    interval_coverage,
)
from msakit.metrics.scores import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

BLUE, ORANGE, GREY = "#2f6fab", "#d1622b", "#8a8f98"
SERIES = (BLUE, ORANGE, "#3b8f5a", "#8a5fb0", "#b8972c", "#4aa3a8", "#b0487c", "#6b7280")
_RASTER_FROM = 1500
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "msakit",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "axes.axisbelow": True,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with the words that belong to it."""

    title: str
    caption: str
    svg: str


def draw(paint: Callable[[Axes], None], *, width: float = 5.6, height: float = 3.8) -> str:
    """SVG text of one pair of axes.

    Args:
        paint: Draws into the axes.
        width: In inches.
        height: In inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return draw_all(lambda canvas: paint(canvas.subplots()), width=width, height=height)


def draw_all(paint: Callable[[Canvas], None], *, width: float, height: float) -> str:
    """SVG text of a whole drawing; like `draw`, but `paint` places its axes itself."""
    try:
        import matplotlib as mpl
        from matplotlib import figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("The report", "matplotlib", "report") from error
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's browser has the glyphs (Chinese class names) that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas = figure.Figure(figsize=(width, height), layout="constrained")
        paint(canvas)
        canvas.savefig(buffer, format="svg", metadata={"Date": None}, dpi=150, transparent=True)
    return buffer.getvalue()


def loss_curve(steps: Sequence[float], losses: Sequence[float]) -> Figure:
    """Training loss by step, with a running mean where there are many steps."""
    window = max(len(losses) // 40, 1)

    def paint(axes: Axes) -> None:
        axes.plot(steps, losses, color=BLUE, alpha=0.3 if window > 1 else 1.0, linewidth=1)
        if window > 1:
            smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
            axes.plot(steps[window - 1 :], smooth, color=BLUE, linewidth=1.8)
        axes.set(xlabel="step", ylabel="loss")

    caption = f"Thick: mean of the last {window} steps." if window > 1 else "One point a step."
    return Figure("Training loss", caption, draw(paint))


def validation_curve(
    epochs: Sequence[int], values: Sequence[float], title: str, best_epoch: int | None
) -> Figure:
    """The validation metric by epoch, the epoch that was kept marked."""

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.plot(epochs, values, color=ORANGE, marker="o", markersize=4)
        if best_epoch is not None and best_epoch in epochs:
            value = values[list(epochs).index(best_epoch)]
            axes.plot([best_epoch], [value], "o", color=ORANGE, markersize=9, markerfacecolor="none")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=f"validation {title}")

    caption = "" if best_epoch is None else f"Ringed: epoch {best_epoch}, whose weights were kept."
    return Figure(f"Validation {title}", caption, draw(paint))


def label_scatter(labels: Floats, values: Floats) -> Figure:
    """Prediction against label; the line is where they are equal."""
    found = ~np.isnan(values)
    low = float(min(labels.min(), values[found].min(initial=np.inf)))
    high = float(max(labels.max(), values[found].max(initial=-np.inf)))

    def paint(axes: Axes) -> None:
        axes.plot([low, high], [low, high], color=GREY, linewidth=1)
        axes.scatter(
            labels[found],
            values[found],
            s=12,
            color=BLUE,
            alpha=0.35,
            linewidths=0,
            rasterized=found.sum() > _RASTER_FROM,
        )
        axes.set(xlabel="label", ylabel="prediction")

    caption = "One dot a sample; on the line they are equal."
    if not found.all():
        caption += f" Not shown, for want of a prediction: {int((~found).sum())}."
    return Figure("Predictions against labels", caption, draw(paint))


def error_by_label(labels: Floats, values: Floats) -> Figure:
    """Mean error (bias) and mean absolute error in bins of the label."""
    found = ~np.isnan(values)
    edges = np.linspace(labels.min(), labels.max() + 1e-9, 8)
    places = np.clip(np.digitize(labels[found], edges) - 1, 0, 6)
    errors = (values - labels)[found]
    filled = [index for index in range(7) if (places == index).any()]
    centres = (edges[:-1] + edges[1:])[filled] / 2
    width = (edges[1] - edges[0]) * 0.38

    def paint(axes: Axes) -> None:
        bias = [errors[places == index].mean() for index in filled]
        size = [np.abs(errors[places == index]).mean() for index in filled]
        axes.bar(centres - width / 2, bias, width, color=ORANGE, label="mean error")
        axes.bar(centres + width / 2, size, width, color=BLUE, label="mean absolute error")
        axes.axhline(0, color=GREY, linewidth=1)
        axes.set(xlabel="label", ylabel="error")
        axes.legend(frameon=False, fontsize=9)

    caption = "A mean error that falls from left to right means predictions are drawn towards the middle."
    return Figure("Error by label", caption, draw(paint))


def confusion(matrix: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Confusion matrix [C, C+1], shaded by the share of each row; no last column if nothing is missing."""
    columns = [*names, "(none)"] if matrix[:, -1].any() else list(names)
    counts = matrix[:, : len(columns)]
    shares = counts / np.maximum(matrix.sum(1, keepdims=True), 1)

    def paint(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.55 else "#1f2933"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
        axes.set(xlabel="predicted", ylabel="label")

    caption = "Samples of each class (row) by predicted class; the darker, the larger the row's share."
    size = max(3.8, 1.4 + 0.4 * len(columns))
    return Figure("Confusion matrix", caption, draw(paint, width=1.45 * size, height=size))


def class_bars(names: Sequence[str], scores: Sequence[float], support: Sequence[float]) -> Figure:
    """F1 of every class, its number of samples beside it."""

    def paint(axes: Axes) -> None:
        places = np.arange(len(names))
        axes.barh(places, np.nan_to_num(scores), color=BLUE, height=0.65)
        axes.set_yticks(places, [f"{name} ({count:.0f})" for name, count in zip(names, support, strict=True)])
        for place, score in enumerate(scores):
            text = "undefined" if np.isnan(score) else f"{score:.2f}"
            axes.text(float(np.nan_to_num(score)) + 0.01, place, text, va="center", fontsize=9)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlim=(0, 1.08), xlabel="F1")

    caption = "In brackets: samples of the class. Undefined: neither present nor predicted."
    return Figure("F1 of each class", caption, draw(paint, height=max(3.8, 1.2 + 0.32 * len(names))))


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> Figure:
    """How often answers of a given probability are right, with the expected calibration error."""
    places = confidence_bins(confidence)
    filled = [index for index in range(NUM_BINS) if (places == index).any()]
    means = np.array([confidence[places == index].mean() for index in filled])
    rates = np.array([correct[places == index].mean() for index in filled])
    sizes = np.array([(places == index).sum() for index in filled])
    error = expected_calibration_error(confidence, correct)

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        axes.plot(means, rates, color=BLUE, linewidth=1)
        axes.scatter(means, rates, s=15 + 150 * sizes / sizes.max(), color=BLUE, alpha=0.7)
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="probability of the answer given", ylabel="share correct"
        )

    caption = (
        f"Expected calibration error {error:.3f}. Below the line: too sure. Larger dots hold more samples."
    )
    return Figure("Calibration", caption, draw(paint))


def coverage(labels: Floats, probabilities: Floats, answers: Floats) -> Figure:
    """Calibration of a regression's answer distribution."""
    nominal, observed = interval_coverage(labels, probabilities, answers)

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        axes.plot(nominal, observed, color=BLUE, marker="o", markersize=5)
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="probability of the interval", ylabel="share of labels inside"
        )

    caption = "Central intervals of the answer probabilities. Below the line: too narrow, too sure."
    return Figure("Calibration", caption, draw(paint))
