"""Progress of work on a store, as the store reports it: (what, done, total)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msakit.cli.render import progress_bar


@contextmanager
def store_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A callback that moves one bar on stderr, a task for each thing done."""
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, note="")
            bar.update(tasks[what], completed=done)

        yield move
        for task in bar.tasks:
            bar.update(task.id, completed=task.total)
