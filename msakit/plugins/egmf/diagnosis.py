"""Is the gate alive, and are the experts different? Pure functions over a split's diagnostics."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

UNIFORM_MARGIN = 0.02
CONSTANT_DEVIATION = 0.01
ONE_HOT_WEIGHT = 0.95
REDUNDANT_COSINE = 0.9


def effective_experts(alpha: Tensor) -> Tensor:
    """How many experts each sample uses, exp of the entropy of alpha [N, E], to [N]; 1 to E."""
    entropy: Tensor = torch.special.entr(alpha.float()).sum(dim=-1)
    return entropy.exp()


def diagnose_gate(alpha: Tensor, names: Sequence[str]) -> list[str]:
    """Warnings about a gate that no longer chooses.

    Uniform: the largest deviation from 1/E is below 0.02 on average. One-hot: one expert holds more
    than 0.95 on average. Constant: no expert's weight varies by more than 0.01 (standard deviation)
    between samples; said where neither of the others is, and of two samples or more.

    Args:
        alpha: Expert weights over a split, [N, E].
        names: The E experts.
    """
    alpha = alpha.double()
    deviation = (alpha - 1 / len(names)).abs().amax(dim=-1).mean().item()
    if deviation < UNIFORM_MARGIN:
        return [f"the gate has collapsed to uniform: weights deviate from 1/{len(names)} by {deviation:.3f}"]
    share, favourite = alpha.mean(dim=0).max(dim=0)
    if share > ONE_HOT_WEIGHT:
        return [f"the gate has collapsed to the expert '{names[int(favourite)]}': mean weight {share:.3f}"]
    if len(alpha) > 1 and alpha.std(dim=0).max() < CONSTANT_DEVIATION:
        return ["the gate has collapsed to a constant: its weights do not vary between samples"]
    return []


def diagnose_experts(cosine: Tensor, names: Sequence[str]) -> list[str]:
    """Warnings about pairs of experts that say the same: mean cosine over the split above 0.9.

    Args:
        cosine: Cosine of the outputs of every pair of experts, [N, E(E-1)/2], in the order of
            `itertools.combinations`.
        names: The E experts.
    """
    pairs = itertools.combinations(names, 2)
    return [
        f"the experts '{first}' and '{second}' are redundant: mean cosine {value:.3f}"
        for (first, second), value in zip(pairs, cosine.double().mean(dim=0).tolist(), strict=True)
        if value > REDUNDANT_COSINE
    ]
