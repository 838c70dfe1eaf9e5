"""The tensors that travel between components.

Legend, the same in every module: B batch, T frames, L text tokens, K pseudo tokens,
D feature width, E encoder width, F fused width, H backbone width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sequence:
    """A padded batch of sequences.

    Attributes:
        values: [B, T, D]; what stands past a sample's length is padding and never read.
        lengths: [B] int64; 0 where the modality is absent.
    """

    values: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """[B, T] bool, true on real frames."""
        steps = torch.arange(self.values.shape[1], device=self.values.device)
        return steps[None, :] < self.lengths[:, None]

    @property
    def present(self) -> Tensor:
        """[B] bool, true where the sample has this modality."""
        return self.lengths > 0

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Sequence:
        """The same sequences on another device and, for the values, in another dtype."""
        return Sequence(self.values.to(device=device, dtype=dtype), self.lengths.to(device))


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded modality; at least one of `sequence` and `summary` is set.

    Attributes:
        present: [B] bool; an encoder gives absent samples zeros in `summary` and length 0 in `sequence`.
            A fuser goes by this, not by what it finds there.
        summary: [B, E], one vector a sample.
        sequence: [B, T, E] with lengths, one vector a frame.
    """

    present: Tensor
    summary: Tensor | None = None
    sequence: Sequence | None = None


@dataclass(frozen=True, slots=True)
class Fused:
    """The output of a fuser.

    Attributes:
        tokens: [B, K0, F].
        diagnostics: Name to a tensor whose first axis is B (expert weights, attention maps).
        auxiliary_loss: Scalar added to the answer loss in training, or None.
    """

    tokens: Tensor
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    auxiliary_loss: Tensor | None = None
