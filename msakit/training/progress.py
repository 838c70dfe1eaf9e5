"""Where a training stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msakit.metrics import Metric


@dataclass
class Progress:
    """Where a training stands; saved with every checkpoint.

    Attributes:
        epoch: Epochs that were trained and validated.
        batches: Steps of the current epoch that were made.
        step: Steps in all.
        best_epoch: The epoch with the best validation so far, the first being 1; 0 before any.
        best_value: Its validation metric.
        seconds: Time spent on training and validation.
        samples: Samples trained on, counted every time.
        stopped: Why training ended; "" while it goes on.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    best_epoch: int = 0
    best_value: float = math.nan
    seconds: float = 0.0
    samples: int = 0
    stopped: str = ""

    def end_epoch(self, value: float, metric: Metric) -> bool:
        """Count an epoch with its validation value; whether that is the best so far (NaN never is)."""
        is_best = self._improves(value, metric)
        self.epoch, self.batches = self.epoch + 1, 0
        if is_best:
            self.best_epoch, self.best_value = self.epoch, value
        return is_best

    def _improves(self, value: float, metric: Metric) -> bool:
        if math.isnan(value):
            return False
        if math.isnan(self.best_value):
            return True
        return value > self.best_value if metric.higher_is_better else value < self.best_value
