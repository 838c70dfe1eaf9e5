"""How much each answer counts in the training loss: class weights and the focal loss.

Legend: B batch, N answer tokens of a batch (B where a head answers), C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

SURE = 1e-6


@dataclass(frozen=True, slots=True)
class AnswerLosses:
    """The loss of a batch's answers, in parts.

    Attributes:
        values: [N] losses; where an answer has several tokens, those of one sample stand together.
        counts: How many of them each sample has (B).
    """

    values: Tensor
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class LossWeighting:
    """Weighs the losses of a batch by class and by how badly each sample is answered.

    The focal loss (Lin et al. 2017, arXiv:1708.02002) multiplies a sample's loss by (1 - p)^gamma, p being
    the probability of its whole right answer. The sum is divided by the sum of the class weights, as
    torch's weighted cross-entropy is; without weights and with gamma 0 it is the mean.

    Attributes:
        class_weights: One weight a class (C), or None for all the same.
        focal_gamma: 0 is plain cross-entropy.
    """

    class_weights: tuple[float, ...] | None = None
    focal_gamma: float = 0.0

    def __call__(self, losses: AnswerLosses, labels: Sequence[float]) -> Tensor:
        """The loss of a batch, a scalar; labels are scores, or class indices where classes have weights."""
        values = losses.values
        if self.class_weights is None and not self.focal_gamma:
            return values.mean()
        counts = torch.tensor(list(losses.counts), device=values.device)
        owners = torch.arange(len(counts), device=values.device).repeat_interleave(counts)
        weights = self._weights(labels, values)[owners]
        weighted = values * weights
        if self.focal_gamma:
            answer_losses = values.new_zeros(len(counts)).index_add(0, owners, values)
            wrong = (-torch.expm1(-answer_losses)).clamp(min=SURE)  # a power below 1 has no slope at 0
            weighted = weighted * wrong.pow(self.focal_gamma)[owners]
        return weighted.sum() / weights.sum()

    def divisor(self, counts: Sequence[int], labels: Sequence[float]) -> float:
        """The divisor of a batch's summed losses, which is its weight beside other batches."""
        if self.class_weights is None:
            return float(sum(counts))
        weights = [self.class_weights[int(label)] for label in labels]
        return sum(count * weight for count, weight in zip(counts, weights, strict=True))

    def _weights(self, labels: Sequence[float], like: Tensor) -> Tensor:
        if self.class_weights is None:
            return like.new_ones(len(labels))
        return like.new_tensor([self.class_weights[int(label)] for label in labels])


def balanced_weights(labels: Sequence[float], num_classes: int) -> tuple[float, ...]:
    """Weights that let every class count the same: N / (C x its count); 0 for a class without a sample.

    Scikit-learn's "balanced", so that the mean weight of a training sample is 1.
    """
    counts = [sum(int(label) == index for label in labels) for index in range(num_classes)]
    present = sum(count > 0 for count in counts)
    return tuple(len(labels) / (present * count) if count else 0.0 for count in counts)


def named_weights(weights: Mapping[str, float], class_names: Sequence[str]) -> tuple[float, ...]:
    """Weights by class name in the order of the classes; 1 for a class that is not named."""
    return tuple(weights.get(name, 1.0) for name in class_names)
