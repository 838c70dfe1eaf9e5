"""A comparison as text: Markdown, CSV, LaTeX and JSON.

Markdown and LaTeX show three decimals and set the best of the compared runs in bold; CSV and JSON hold the
unrounded values.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from msakit.core.spreadsheet import disarm
from msakit.metrics import Metric
from msakit.metrics.estimate import Estimate
from msakit.reports.comparison import Comparison, Row

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def show_estimate(metric: Metric, estimate: Estimate | None, plus_minus: str = " ± ") -> str:
    """The mean and, over several seeds, the sd: `0.662 ± 0.004`."""
    if estimate is None:
        return "-"
    mean = metric.show(estimate.mean)
    return mean if estimate.sd is None else f"{mean}{plus_minus}{metric.show(estimate.sd)}"


def show_interval(metric: Metric, ends: tuple[float, float], *, signed: bool = False) -> str:
    """`[0.61, 0.70]`, with plus signs where it is of a difference; a dash where it is undefined."""
    if any(map(math.isnan, ends)):
        return "-"
    return f"[{', '.join(show_signed(metric, end) if signed else metric.show(end) for end in ends)}]"


def show_signed(metric: Metric, value: float) -> str:
    """A difference, with its sign."""
    return ("+" if value > 0 else "") + metric.show(value)


def show_p(value: float) -> str:
    """A p value."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def is_best(metric: Metric, row: Row, rows: Sequence[Row]) -> bool:
    """Whether a run has the best mean of several runs; ties are all best."""
    runs = [other.estimates[metric.name].mean for other in rows if other.kind == "run"]
    means = [mean for mean in runs if not math.isnan(mean)]
    if row.kind != "run" or len(runs) < 2 or not means or metric.higher_is_better is None:
        return False
    return row.estimates[metric.name].mean == (max if metric.higher_is_better else min)(means)


def notes(comparison: Comparison) -> list[str]:
    """Notes needed to read the table, with the sources of published figures."""
    lines = [f"{comparison.dataset}, {comparison.split} split, {comparison.num_samples} samples."]
    if any(len(row.seeds) > 1 for row in comparison.rows):
        lines.append("± is the sample standard deviation over seeds.")
    if comparison.tested:
        drawn = f"{comparison.num_clusters} {comparison.cluster}s" if comparison.cluster else "samples"
        lines.append(
            f"Intervals of 95 % and p: paired bootstrap over {drawn}, {comparison.num_resamples} resamples, "
            "of the mean over seeds."
        )
    if len(comparison.differences) > 1:
        lines.append(f"p is corrected for {len(comparison.differences)} tests (Holm).")
    lines += [comparison.remark] if comparison.remark else []
    lines += [
        f"{row.name}: {row.source}. Confidence {row.confidence}. {row.note}".rstrip()
        for row in comparison.rows
        if row.kind == "published"
    ]
    return lines


def to_markdown(comparison: Comparison) -> str:
    """Pipe tables: the rows, the differences and the sources of published figures."""

    def cell(metric: Metric, row: Row) -> str:
        text = show_estimate(metric, row.estimates.get(metric.name))
        return f"**{text}**" if is_best(metric, row, comparison.rows) else text

    blocks = [markdown_table(*main_table(comparison, cell))]
    blocks += [markdown_table(*tested_table(comparison, metric)) for metric in comparison.tested]
    blocks.append("\n".join(notes(comparison)))
    return "\n\n".join(blocks) + "\n"


def to_latex(comparison: Comparison) -> str:
    """A booktabs tabular; notes stand above it as comments."""

    def cell(metric: Metric, row: Row) -> str:
        text = show_estimate(metric, row.estimates.get(metric.name), " $\\pm$ ")
        return rf"\textbf{{{text}}}" if is_best(metric, row, comparison.rows) else text

    lines = [f"% {line}" for line in notes(comparison)]
    header, rows = main_table(comparison, cell)
    lines += _latex_table(header, [[row[0].translate(_LATEX), *row[1:]] for row in rows])
    for metric in comparison.tested:
        header, rows = tested_table(comparison, metric)
        lines += ["", *_latex_table(header, [[entry.translate(_LATEX) for entry in row] for row in rows])]
    return "\n".join(lines) + "\n"


def to_csv(comparison: Comparison) -> str:
    """One line a row and metric: mean, sd, interval over samples, and the difference where it was tested."""
    tested = {(entry.name, entry.metric): asdict(entry) for entry in comparison.differences}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    tested_keys = ("reference", "difference", "low", "high", "p_value", "p_holm")
    measured = ("mean", "sd", "num_seeds", "interval_low", "interval_high")
    writer.writerow(["kind", "name", "metric", *measured, *tested_keys, "source", "confidence"])
    for row in comparison.rows:
        for name, estimate in row.estimates.items():
            found = tested.get((row.name, name), {}) if row.kind == "run" else {}
            ends = row.intervals.get(name, (None, None))
            cells = [estimate.mean, estimate.sd, len(row.seeds) or None, *ends, *map(found.get, tested_keys)]
            shown = ["" if cell is None else cell for cell in cells]
            writer.writerow([row.kind, disarm(row.name), name, *shown, row.source, row.confidence])
    return file.getvalue()


def to_json(comparison: Comparison) -> str:
    """Everything, unrounded; undefined values are null."""
    content = {
        "dataset": comparison.dataset,
        "split": comparison.split,
        "num_samples": comparison.num_samples,
        "num_resamples": comparison.num_resamples,
        "cluster": comparison.cluster or None,
        "num_clusters": comparison.num_clusters or None,
        "metrics": {
            metric.name: {"title": metric.title, "higher_is_better": metric.higher_is_better}
            for metric in dict.fromkeys((*comparison.metrics, *comparison.tested))
        },
        "rows": [asdict(row) for row in comparison.rows],
        "differences": [asdict(difference) for difference in comparison.differences],
    }
    return json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
    "json": to_json,
}


def main_table(
    comparison: Comparison, cell: Callable[[Metric, Row], str]
) -> tuple[list[str], list[list[str]]]:
    """Header and lines: every row with its shown metrics, as `cell` writes them, and how many seeds."""
    header = ["", *(metric.title for metric in comparison.metrics), "seeds"]
    rows = [
        [row.name, *(cell(metric, row) for metric in comparison.metrics), str(len(row.seeds) or "-")]
        for row in comparison.rows
    ]
    return header, rows


def tested_table(comparison: Comparison, metric: Metric) -> tuple[list[str], list[list[str]]]:
    """A tested metric over samples: value, interval, difference to the reference; one line a group."""
    header = ["", metric.title, "95 % interval", "difference", "its interval", "p"]
    found = {entry.name: entry for entry in comparison.differences if entry.metric == metric.name}
    rows = []
    for row in (row for row in comparison.rows if row.kind == "run"):
        cells = [
            metric.show(row.estimates[metric.name].mean),
            show_interval(metric, row.intervals[metric.name]),
        ]
        if entry := found.get(row.name):
            ends = show_interval(metric, (entry.low, entry.high), signed=True)
            cells += [show_signed(metric, entry.difference), ends, show_p(entry.p_holm)]
        else:
            cells += ["reference", "", ""] if found else ["", "", ""]
        rows.append([row.name, *cells])
    return header, rows


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table; the columns after the first hold numbers."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join([line(header), rule, *map(line, rows)])


def _latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    return [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        line([cell.translate(_LATEX) for cell in header]),
        r"\midrule",
        *map(line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return value
