"""Output: results on stdout, messages on stderr."""

from __future__ import annotations

import math
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


def data_console() -> Console:
    """The console for results; wide enough for any table when stdout is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False)


def talk_console() -> Console:
    """The console for messages."""
    return Console(stderr=True, highlight=False, emoji=False)


def say(message: str) -> None:
    """Print a message."""
    talk_console().print(visible(message), soft_wrap=True, markup=False)


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
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print a table; the columns named in `right` hold numbers."""
    heading = Text(visible(title)) if title else None
    table = Table(title=heading, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        is_number = column in right
        heading = Text(visible(column))
        table.add_column(
            heading, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number
        )
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    data_console().print(table)


class _Shown(TextColumn):
    """A column of text from elsewhere, such as the clip that is worked on."""

    def render(self, task: Task) -> Text:
        """The text, nothing of it acting on the terminal."""
        return Text(visible(super().render(task).plain))


def progress_bar() -> Progress:
    """A progress bar on stderr."""
    return Progress(
        _Shown("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _Shown("{task.fields[note]}", markup=False),
        console=talk_console(),
    )


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table; a dash where it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
