"""TensorBoard events, written where tensorboard is installed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msakit.core.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path


class TensorBoard:
    """Writes what a trainer reports as TensorBoard scalars (an `Observer`).

    Args:
        folder: Where the event files go.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("Writing TensorBoard events", "tensorboard", "tracking") from error
        self._open = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def on_prepare(self, *, done: int, total: int) -> None:
        """Nothing to write."""

    def on_warm_start(self, *, done: int, total: int, loss: float | None) -> None:
        """Nothing to write: the steps have not begun."""

    def on_start(self, *, num_steps: int, first_step: int) -> None:
        """Begin a file of events; what an interrupted training wrote past its checkpoint is void."""
        self._writer = self._open(str(self._folder), purge_step=first_step + 1)

    def on_step(self, record: dict[str, Any]) -> None:
        """Write loss and learning rate."""
        self._write("train", record)

    def on_epoch(self, record: dict[str, Any], *, is_best: bool) -> None:
        """Write the validation metrics."""
        self._write("valid", record)

    def on_end(self) -> None:
        """Flush to disk."""
        self._writer.close()

    def _write(self, split: str, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if isinstance(value, float) and math.isfinite(value):
                self._writer.add_scalar(f"{split}/{name}", value, record["step"])
