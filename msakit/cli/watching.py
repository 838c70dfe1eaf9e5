"""Training progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msakit.cli.render import number, progress_bar, say, talk_console

if TYPE_CHECKING:
    from rich.progress import TaskID

SMOOTHING = 0.95
LINE_SECONDS = 20


def training_progress(title: str, metric: str) -> ProgressBar | ProgressLines:
    """The `Observer` for a training: a progress bar on a terminal, lines in a log."""
    watcher = ProgressBar if talk_console().is_terminal else ProgressLines
    return watcher(title, metric)


class ProgressBar:
    """Shows steps, a smoothed loss and the last validation.

    Args:
        title: What is being trained.
        metric: The validation metric to show.
    """

    def __init__(self, title: str, metric: str) -> None:
        self._title = title
        self._metric = metric
        self._loss: float | None = None
        self._validation = ""
        self._bar = progress_bar()
        self._task: TaskID | None = None
        self._reading: TaskID | None = None
        self._warming: TaskID | None = None

    def on_prepare(self, *, done: int, total: int) -> None:
        """Show how much of the prompts has been read."""
        self._bar.start()
        if self._reading is None:
            self._reading = self._bar.add_task("Reading prompts", total=total, note="")
        self._bar.update(self._reading, completed=done, total=total)

    def on_warm_start(self, *, done: int, total: int, loss: float | None) -> None:
        """Show how many epochs are done, and the loss on the validation split."""
        self._bar.start()
        if self._warming is None:
            self._warming = self._bar.add_task("Warm start", total=total, note="")
        self._bar.update(self._warming, completed=done, note="" if loss is None else f"valid loss {loss:.3f}")
        if done == total and self._task is not None:
            self._bar.start_task(self._task)

    def on_start(self, *, num_steps: int, first_step: int) -> None:
        """Begin the training's bar."""
        self._bar.start()
        self._task = self._bar.add_task(
            self._title, total=num_steps, completed=first_step, note="", start=self._warming is None
        )

    def on_step(self, record: dict[str, Any]) -> None:
        """Advance by a step."""
        loss = record["loss"]
        self._loss = loss if self._loss is None else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        self._update(advance=1)

    def on_epoch(self, record: dict[str, Any], *, is_best: bool) -> None:
        """Show the validation metric; a star marks the best so far."""
        star = "*" if is_best else ""
        self._validation = f"{self._metric} {number(record.get(self._metric))}{star}"
        self._update()

    def on_end(self) -> None:
        """End the bar."""
        self._bar.stop()

    def _update(self, advance: int = 0) -> None:
        if self._task is not None:
            note = f"loss {self._loss:.3f}  {self._validation}" if self._loss is not None else ""
            self._bar.update(self._task, advance=advance, note=note)


class ProgressLines:
    """Logs progress from time to time, and every validation.

    Args:
        title: What is being trained.
        metric: The validation metric to tell.
    """

    def __init__(self, title: str, metric: str) -> None:
        self._title = title
        self._metric = metric
        self._num_steps = 0
        self._last = time.monotonic()

    def on_prepare(self, *, done: int, total: int) -> None:
        """Log how many prompts have been read."""
        self._tell(f"Reading prompts: {done} of {total}")

    def on_warm_start(self, *, done: int, total: int, loss: float | None) -> None:
        """Log the loss on the validation split."""
        if loss is not None:
            self._tell(f"{self._title}: warm start, epoch {done} of {total}, validation loss {loss:.3f}")

    def on_start(self, *, num_steps: int, first_step: int) -> None:
        """Remember the number of steps."""
        self._num_steps = num_steps

    def on_step(self, record: dict[str, Any]) -> None:
        """Log the progress."""
        self._tell(f"{self._title}: step {record['step']} of {self._num_steps}, loss {record['loss']:.3f}")

    def on_epoch(self, record: dict[str, Any], *, is_best: bool) -> None:
        """Log the validation metric."""
        best = ", the best so far" if is_best else ""
        value = number(record.get(self._metric))
        say(f"{self._title}: epoch {record['epoch']}, {self._metric} {value}{best}")

    def on_end(self) -> None:
        """Nothing is left open."""

    def _tell(self, message: str) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            say(message)
