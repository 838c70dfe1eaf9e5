"""The learning-rate schedule."""

from __future__ import annotations

import math


def cosine_with_warmup(step: int, *, warmup_steps: int, horizon_steps: int) -> float:
    """Factor on the learning rate at a step: linear warm-up, then half a cosine, then zero.

    Unlike transformers' schedule of the same shape it stays at zero past its horizon; there the
    rate rises again, which the released MSE-Adapter training runs into.
    """
    if step < warmup_steps:
        return step / max(1, warmup_steps)
    progress = (step - warmup_steps) / max(1, horizon_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
