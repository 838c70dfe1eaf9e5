"""`msakit compare`: runs side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.render import data_console, print_table, progress_bar, talk_console
from msakit.cli.settings import AsJson

if TYPE_CHECKING:
    from rich.text import Text

    from msakit.core.registry.specs import PublishedResult
    from msakit.metrics import Metric
    from msakit.reports.comparison import Comparison, Row
    from msakit.runs.results import RunGroup

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    JSON = "json"


@app.command(epilog="Example: msakit compare runs/text-only runs/tgm --metric mae --published")
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Runs, or folders of runs seed-<n>; the first is the reference.")
    ],
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Show and test this metric; may be repeated. Without it all are shown, the main one tested."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Whose predictions are compared.")] = "test",
    published: Annotated[bool, typer.Option("--published", help="Add the published figures.")] = False,
    resamples: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples; 0 leaves out the tests.")
    ] = 2000,
    output_format: Annotated[
        Format, typer.Option("--format", help="table, markdown, csv, latex or json.")
    ] = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: mean and sd over seeds, paired bootstrap, published figures.

    Differences are to the first run. Their interval and p value come from resampling the samples of
    the split, the same samples on both sides; what depends on the seed, the sd shows.
    """
    from msakit.runs.results import read_group

    groups = [read_group(path) for path in runs]
    results = options.registry().published() if published else []
    comparison = _compare_with_progress(groups, metric or [], split, results, resamples)
    chosen = Format.JSON if as_json else output_format
    if chosen is Format.TABLE:
        _print_tables(comparison)
    else:
        from msakit.reports.tables import FORMATS

        typer.echo(FORMATS[chosen.value](comparison), nl=False)


def _compare_with_progress(
    groups: list[RunGroup], metrics: list[str], split: str, published: list[PublishedResult], resamples: int
) -> Comparison:
    from msakit.reports.comparison import compare_groups

    progress = progress_bar()
    progress.disable = not talk_console().is_terminal
    with progress:
        total = (len(groups) - 1) * max(len(metrics), 1) * resamples
        task = progress.add_task("Resampling", total=total, note="", visible=total > 0)
        return compare_groups(
            groups,
            split=split,
            metric_names=metrics,
            published=published,
            num_resamples=resamples,
            advance=lambda: progress.advance(task),
        )


def _print_tables(comparison: Comparison) -> None:
    from msakit.reports.tables import notes, show_difference

    _print_rows(comparison)
    metrics = {metric.name: metric for metric in comparison.metrics}
    columns = ("difference", "metric", "value", "95 % interval", "p")
    differences = [
        (f"{entry.name} - {entry.reference}", metric.title, *show_difference(metric, entry))
        for entry in comparison.differences
        for metric in (metrics[entry.metric],)
    ]
    if differences:
        data_console().print()
        print_table("", columns, differences, right=columns[2:])
    data_console().print()
    for line in notes(comparison):
        data_console().print(line, markup=False, soft_wrap=True)


def _print_rows(comparison: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for heading in (*(metric.title for metric in comparison.metrics), "seeds", "trainable"):
        table.add_column(heading, justify="right")
    for row in comparison.rows:
        trainable = "-" if row.num_trainable is None else f"{row.num_trainable:,}"
        cells = [_cell(metric, row, comparison) for metric in comparison.metrics]
        style = None if row.kind == "run" else "dim"
        table.add_row(Text(row.name), *cells, str(len(row.seeds) or "-"), trainable, style=style)
    data_console().print(table)


def _cell(metric: Metric, row: Row, comparison: Comparison) -> Text:
    from rich.text import Text

    from msakit.reports.tables import is_best, show_estimate

    style = "bold green" if is_best(metric, row, comparison.rows) else ""
    return Text(show_estimate(metric, row.estimates.get(metric.name)), style)
