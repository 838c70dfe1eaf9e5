"""How a step's samples are divided: among processes, and into parts that fit into memory.

Every part's loss is a mean over its own answers' tokens. Weighted by their share of the whole step's, the
parts' gradients add up to the gradient of the step taken at once, however it is divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msakit.core import processes
from msakit.samples.order import BatchLimits, parts_within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.pipeline.config import TrainingConfig
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.samples.samples import Samples


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are computed at once, and their share of the step's loss."""

    rows: NDArray[np.int64]
    weight: float


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Divides the rows of a step.

    Args:
        pipeline: Knows how long prompts are, and how much a batch's loss weighs.
        samples: Where texts and labels come from.
        settings: Batch size, accumulation and the limit of tokens.
    """

    pipeline: Pipeline
    samples: Samples
    settings: TrainingConfig

    @property
    def samples_per_step(self) -> int:
        """Samples of all processes whose gradients make one optimiser step."""
        return self.settings.batch_size * self.settings.gradient_accumulation * processes.count()

    def parts(self, rows: NDArray[np.int64]) -> list[Part]:
        """This process's parts of a step; every process has as many, some perhaps of no weight."""
        limits = BatchLimits(self.settings.batch_size, self.settings.max_batch_tokens)
        num_tokens = np.zeros(len(rows), np.int64)
        if limits.tokens is not None:
            num_tokens = self.pipeline.num_prompt_tokens(self.samples.words(rows))
        divided = parts_within(rows, num_tokens, limits)
        weights = [self.pipeline.loss_weight(self.samples.labels(part).tolist()) for part in divided]
        total = sum(weights) or 1.0
        parts = [Part(part, weight / total) for part, weight in zip(divided, weights, strict=True)]
        missing = -len(parts) % processes.count()
        parts += [Part(parts[0].rows, 0.0)] * missing
        return parts[processes.rank() :: processes.count()]
