"""Output: results on stdout, messages on stderr."""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from msakit.cli.visible import visible, visible_json
from msakit.core.files import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import JustifyMethod

    from msakit.core.registry.specs import Finding


NARROWEST = 20
"""To which a column of text is wrapped, at most, before columns move below."""
GAP = 2


def data_console() -> Console:
    """The console for results; wide where stdout is no terminal and COLUMNS does not say how wide."""
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_known else 160, highlight=False, emoji=False)


def talk_console() -> Console:
    """The console for messages."""
    return Console(stderr=True, highlight=False, emoji=False)


def say(message: str) -> None:
    """Print a message."""
    talk_console().print(visible(message), soft_wrap=True, markup=False)


def warn_of(findings: Iterable[Finding]) -> None:
    """Print what is doubtful about a pipeline."""
    for finding in findings:
        say(f"Warning: {finding.key}: {finding.message} {finding.remedy}".rstrip())


def print_error(message: str, hint: str | None = None) -> None:
    """Print an error and its remedy."""
    console = talk_console()
    console.print("[bold red]Error:[/]", end=" ")
    console.print(visible(message), soft_wrap=True, markup=False)
    if hint:
        console.print(visible(hint), soft_wrap=True, markup=False)


def print_text(text: str, *, end: str = "\n") -> None:
    """Print data that is text already."""
    sys.stdout.write(visible(text) + end)


def print_json(content: Any) -> None:
    """Print JSON; undefined numbers become null."""
    sys.stdout.write(visible_json(to_json(content)) + "\n")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
) -> None:
    """Print a table; the columns named in `right` hold numbers, which are never wrapped.

    What is too wide for the terminal is continued below, the first column repeated.
    """
    console = data_console()
    headings = [Text(visible(column)) for column in columns]
    cells = [[cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row] for row in rows]
    numbers = [column in right for column in columns]
    widths = _least_widths([headings, *cells], numbers)
    if title:
        console.print(Text(visible(title), style="italic"), soft_wrap=True)
    for place, block in enumerate(_blocks(widths, console.width)):
        table = Table(header_style="bold", box=None, pad_edge=False)
        for index in block:
            justify: JustifyMethod = "right" if numbers[index] else "left"
            table.add_column(headings[index], justify=justify, overflow="fold", no_wrap=numbers[index])
        for row in cells:
            table.add_row(*(row[index] for index in block))
        console.print(*([""] if place else []), table, sep="\n")


def _least_widths(rows: Sequence[Sequence[Text]], numbers: Sequence[bool]) -> list[int]:
    """The width each column needs; text can be wrapped."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    return [
        width if is_number else min(width, NARROWEST)
        for width, is_number in zip(widths, numbers, strict=True)
    ]


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """The columns of each table when those of these widths share lines of `width` characters."""
    blocks = [[0]] if widths else []
    used = sum(widths[:1])
    for index in range(1, len(widths)):
        if used + GAP + widths[index] > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(index)
        used += GAP + widths[index]
    return blocks


class _Shown(TextColumn):
    """A column of text from elsewhere, such as the clip that is worked on."""

    def render(self, task: Task) -> Text:
        """The text, nothing of it acting on the terminal."""
        return Text(visible(super().render(task).plain))


def progress_bar() -> Progress:
    """A progress bar on stderr; without a terminal it appears once, when it ends."""
    console = talk_console()
    return Progress(
        _Shown("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _Shown("{task.fields[note]}", markup=False),
        console=console,
        # Refreshing takes a thread, and starting one waits for ever where memory is out.
        auto_refresh=console.is_terminal,
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash where it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
