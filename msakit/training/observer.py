"""Watching a training: what a progress bar or a tracker is told."""

from __future__ import annotations

from typing import Any, Protocol


class Observer(Protocol):
    """Somebody who watches a training: a progress bar, a tracker."""

    def on_prepare(self, *, done: int, total: int) -> None:
        """The backbone read so many of the run's prompts ahead of training."""

    def on_warm_start(self, *, done: int, total: int, loss: float | None) -> None:
        """So many epochs of the warm start are done; `loss` is the last one's validation loss."""

    def on_start(self, *, num_steps: int, first_step: int) -> None:
        """Training begins (or goes on) at `first_step` of at most `num_steps`."""

    def on_step(self, record: dict[str, Any]) -> None:
        """A step was made; the record is what history.jsonl gets."""

    def on_epoch(self, record: dict[str, Any], *, is_best: bool) -> None:
        """An epoch ended and was validated."""

    def on_end(self) -> None:
        """Training is over."""
