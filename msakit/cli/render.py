"""What is shown: data on stdout, talk on stderr."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from msakit.core.files import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def data_console() -> Console:
    """Where results go; as wide as they need when nobody watches."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def talk_console() -> Console:
    """Where everything else goes."""
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Tell the user something."""
    talk_console().print(message, soft_wrap=True)


def print_error(message: str, hint: str | None = None) -> None:
    """Say what went wrong, and what to do."""
    console = talk_console()
    console.print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        console.print(escape(hint), soft_wrap=True)


def print_json(content: Any) -> None:
    """Print data for programs; undefined numbers become null."""
    sys.stdout.write(to_json(content) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print a table; the columns named in `right` hold numbers."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        is_number = column in right
        table.add_column(column, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    data_console().print(table)


def progress_bar() -> Progress:
    """A progress bar on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=talk_console(),
    )


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table; a dash where it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
