"""`msakit compare`: runs side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from msakit.core.comparison import Comparison
    from msakit.core.results import RunGroup
    from msakit.core.specs import PublishedResult


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    JSON = "json"


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs, or folders of runs seed-<n>; the first is the reference.",
            show_default=False,
            metavar="RUN...",
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Show and test this metric (repeatable). Default: show all, test the main one."),
    ] = None,
    split: Annotated[str, typer.Option(help="Whose predictions are compared.")] = "test",
    published: Annotated[bool, typer.Option("--published", help="Add the published figures.")] = False,
    resamples: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples; 0 leaves the tests out.")
    ] = 2000,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Compare runs: mean and sd over seeds, paired bootstrap, published figures.

    Differences are to the first run. Their interval and p value come from resampling the samples of
    the split (the same for both sides); they do not cover the choice of seeds, which the sd shows.

    Example: msakit compare runs/text-only runs/tgm --metric mae --published
    """
    from msakit.core.registry import load_registry
    from msakit.core.results import load_group

    groups = [load_group(path) for path in runs]
    results = load_registry().published() if published else []
    comparison = _compare_with_progress(groups, metric or [], split, results, resamples)
    chosen = Format.JSON if json else format
    if chosen is Format.TABLE:
        _print_tables(comparison)
    else:
        from msakit.core.comparison_tables import FORMATS

        typer.echo(FORMATS[chosen.value](comparison), nl=False)


def _compare_with_progress(
    groups: list[RunGroup], metrics: list[str], split: str, published: list[PublishedResult], resamples: int
) -> Comparison:
    from rich.console import Console
    from rich.progress import Progress

    from msakit.core.comparison import compare_groups

    console = Console(stderr=True)
    total = (len(groups) - 1) * max(len(metrics), 1) * resamples
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Resampling", total=total)
        return compare_groups(
            groups,
            split=split,
            metric_names=metrics,
            published=published,
            num_resamples=resamples,
            advance=lambda: progress.advance(task),
        )


def _print_tables(comparison: Comparison) -> None:
    from rich.console import Console

    from msakit.core.comparison_tables import notes

    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(_main_table(comparison))
    if comparison.differences:
        console.print(_difference_table(comparison))
    for line in notes(comparison):
        console.print(line, markup=False)
    for row in comparison.rows:
        if row.kind == "published":
            console.print(f"{row.name}: {row.source} (confidence: {row.confidence})", markup=False)


def _main_table(comparison: Comparison) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from msakit.core.comparison_tables import is_best, show_estimate

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for metric in comparison.metrics:
        table.add_column(metric.title, justify="right")
    table.add_column("seeds", justify="right")
    table.add_column("trainable", justify="right")
    for row in comparison.rows:
        cells = []
        for metric in comparison.metrics:
            text = show_estimate(metric, row.estimates.get(metric.name))
            cells.append(f"[bold green]{text}[/]" if is_best(metric, row, comparison.rows) else text)
        trainable = f"{row.num_trainable:,}" if row.num_trainable is not None else "-"
        style = None if row.kind == "run" else "dim"
        table.add_row(escape(row.name), *cells, str(len(row.seeds) or "-"), trainable, style=style)
    return table


def _difference_table(comparison: Comparison) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from msakit.core.comparison_tables import show_difference

    metrics = {metric.name: metric for metric in comparison.metrics}
    table = Table("difference", "metric", box=None, header_style="bold", pad_edge=False)
    for heading in ("value", "95 % interval", "p"):
        table.add_column(heading, justify="right")
    for entry in comparison.differences:
        metric = metrics[entry.metric]
        name = escape(f"{entry.name} - {entry.reference}")
        table.add_row(name, metric.title, *map(escape, show_difference(metric, entry)))
    return table
