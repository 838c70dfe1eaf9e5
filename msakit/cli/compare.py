"""`msakit compare`: runs side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli import completion
from msakit.cli.context import options
from msakit.cli.render import data_console, print_table, print_text, progress_bar, say, talk_console
from msakit.cli.settings import AsJson

if TYPE_CHECKING:
    from rich.text import Text

    from msakit.core.registry.specs import PublishedResult
    from msakit.metrics import Metric
    from msakit.reports.comparison import Comparison, Question, Row
    from msakit.runs.results import RunGroup

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    JSON = "json"


class Cluster(StrEnum):
    """The unit the bootstrap resamples."""

    DIALOGUE = "dialogue"
    VIDEO = "video"
    SPEAKER = "speaker"
    NONE = "none"


@app.command(epilog="Example: msakit compare runs/text-only runs/tgm --metric mae --published")
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS",
            help="Runs, evaluations, or folders of runs seed-<n>; the first is the reference.",
            autocompletion=completion.runs,
        ),
    ],
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Show and test this metric; may be repeated.", autocompletion=completion.metrics),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every metric and the parameters.")] = False,
    split: Annotated[
        str | None, typer.Option(help="Split to compare. [default: test if all runs have it]")
    ] = None,
    cluster: Annotated[
        Cluster | None,
        typer.Option(
            help="Draw whole dialogues, videos or speakers, or samples (none). "
            "[default: the first that the predictions carry]"
        ),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Add the published figures.")] = False,
    resamples: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples; 0 leaves out intervals and tests.")
    ] = 2000,
    output_format: Annotated[
        Format, typer.Option("--format", help="table, markdown, csv, latex or json.")
    ] = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """Compare runs: mean and sd over seeds, paired bootstrap, published figures.

    Without --metric the family's headline metrics are shown and its main one is tested. Differences are
    to the first run. Intervals and p values come from resampling the samples of the split, the same on
    both sides, and p is corrected for the number of tests; what depends on the seed, the sd shows.
    """
    from msakit.reports.comparison import Question
    from msakit.runs.results import read_group

    groups = [read_group(path) for path in runs if not path.is_file()]
    results = options.registry().published() if published else []
    question = Question(split, metric or (), show_all, cluster and cluster.value, resamples)
    comparison = _compare_with_progress(groups, question, results)
    if published and not any(row.kind == "published" for row in comparison.rows):
        say(f"No published figures are registered for {comparison.dataset}.")
    chosen = Format.JSON if as_json else output_format
    if chosen is Format.TABLE:
        _print_tables(comparison, show_all=show_all)
    else:
        from msakit.reports.tables import FORMATS

        print_text(FORMATS[chosen.value](comparison), end="")


def _compare_with_progress(
    groups: list[RunGroup], question: Question, published: list[PublishedResult]
) -> Comparison:
    from msakit.reports.comparison import compare_groups

    progress = progress_bar()
    progress.disable = not talk_console().is_terminal
    with progress:
        task = progress.add_task("Resampling", total=question.num_resamples, note="")
        return compare_groups(groups, question, published=published, advance=lambda: progress.advance(task))


def _print_tables(comparison: Comparison, *, show_all: bool) -> None:
    from msakit.reports.tables import notes, tested_table

    _print_rows(comparison, show_all=show_all)
    for metric in comparison.tested:
        data_console().print()
        header, rows = tested_table(comparison, metric)
        print_table("", header, rows, right=header[1:])
    data_console().print()
    for line in notes(comparison):
        print_text(line)


def _print_rows(comparison: Comparison, *, show_all: bool) -> None:
    from rich.text import Text

    from msakit.cli.visible import visible

    titles = [metric.title for metric in comparison.metrics]
    columns = ("", *titles, "seeds", *(["trainable"] if show_all else []))
    rows = []
    for row in comparison.rows:
        cells = [_cell(metric, row, comparison) for metric in comparison.metrics]
        cells.append(Text(str(len(row.seeds) or "-")))
        if show_all:
            cells.append(Text("-" if row.num_trainable is None else f"{row.num_trainable:,}"))
        line = [Text(visible(row.name)), *cells]
        if row.kind != "run":
            for cell in line:
                cell.stylize("dim")
        rows.append(line)
    print_table("", columns, rows, right=columns[1:])


def _cell(metric: Metric, row: Row, comparison: Comparison) -> Text:
    from rich.text import Text

    from msakit.reports.tables import is_best, show_estimate

    style = "bold green" if is_best(metric, row, comparison.rows) else ""
    return Text(show_estimate(metric, row.estimates.get(metric.name)), style)
