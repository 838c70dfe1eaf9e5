"""Building blocks the built-in components share: reading padded sequences without reading padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from msakit.core.tensors import Sequence


def clean(sequence: Sequence) -> Sequence:
    """The same sequences with zeros in the padding and at least one frame.

    Padding may hold anything, NaN included, and NaN times a zero weight is still NaN; a batch in
    which everyone's modality is absent has no frame at all, which recurrent kernels refuse.
    """
    values = sequence.values.masked_fill(~sequence.mask[..., None], 0)
    if values.shape[1] == 0:
        values = values.new_zeros(values.shape[0], 1, values.shape[2])
    return Sequence(values, sequence.lengths)


def masked_mean(sequence: Sequence) -> Tensor:
    """Mean over real frames, [B, T, D] to [B, D]; zero where the length is 0."""
    total = sequence.values.masked_fill(~sequence.mask[..., None], 0).sum(dim=1)
    return total / sequence.lengths.clamp(min=1)[:, None].to(total.dtype)


def last_frame(sequence: Sequence) -> Tensor:
    """The last real frame, [B, T, D] to [B, D]; the first frame where the length is 0."""
    steps = (sequence.lengths - 1).clamp(min=0)[:, None, None]
    return sequence.values.gather(1, steps.expand(-1, 1, sequence.values.shape[2])).squeeze(1)


def keep_present(values: Tensor, present: Tensor) -> Tensor:
    """The values [B, ...] with zeros for samples that lack the modality."""
    return values.masked_fill(~present.reshape(-1, *[1] * (values.dim() - 1)), 0)


class RMSScale(nn.Module):
    """Gives every vector the same root mean square, a learned scalar.

    Args:
        initial: The root mean square at the start of training.
    """

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(initial)))

    def forward(self, values: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return self.scale * nn.functional.rms_norm(values, values.shape[-1:])
