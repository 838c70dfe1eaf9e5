"""Mean and deviation of a modality's frames, gathered batch by batch.

Legend: T frames of all samples together, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.tensors import Sequence


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one modality's frames on the training split: mean and deviation, float32 [D]."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


class FrameMoments:
    """Sums over the frames seen so far, in float64.

    Args:
        width: Feature width (D).
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._total = np.zeros(width)
        self._squares = np.zeros(width)

    def add(self, batch: Sequence) -> None:
        """Count the real frames of a batch [B, T, D]."""
        frames = batch.values[batch.mask].double().numpy()
        self.count += len(frames)
        self._total += frames.sum(axis=0)
        self._squares += np.square(frames).sum(axis=0)

    def statistics(self) -> Statistics:
        """Of all frames that were added; there must be one."""
        mean = self._total / self.count
        deviation = np.sqrt(np.maximum(self._squares / self.count - mean**2, 0.0))
        return Statistics(mean.astype(np.float32), deviation.astype(np.float32))
