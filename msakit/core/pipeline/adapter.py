"""The trainable part of a pipeline: feature scaling, encoders, fuser, injector, and a head where one answers.

Legend: B batch, T frames, L text tokens, K pseudo tokens, D feature width, H backbone width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.pipeline.readout import AnswerHead
    from msakit.core.tensors import Fused


@dataclass(frozen=True, slots=True)
class Injection:
    """Pseudo tokens [B, K, H] and the fused tensors they were made of."""

    pseudo: Tensor
    fused: Fused


class Scaler(nn.Module):
    """Subtracts a mean and divides by a deviation, per feature dimension; the identity until fitted.

    Args:
        width: Feature width (D).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Take on the statistics [D] of the training split; constant dimensions are left unscaled."""
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def scale(self, values: Tensor) -> Tensor:
        """Scale values [..., D]."""
        return (values.to(self.mean.dtype) - self.mean) / self.deviation

    def forward(self, sequence: Sequence) -> Sequence:
        """Scale [B, T, D]; padding stays padding."""
        values = self.scale(sequence.values)
        return Sequence(values.masked_fill(~sequence.mask[..., None], 0.0), sequence.lengths)


class Adapter(nn.Module):
    """Everything of a pipeline but its language model.

    Args:
        encoders: Modality to encoder.
        fuser: The fuser.
        injector: The token injector.
        widths: Modality to feature width (D).
        head: Reads the answer off the backbone's last state; None where answers are tokens.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fuser: nn.Module,
        injector: nn.Module,
        *,
        widths: Mapping[str, int],
        head: AnswerHead | None = None,
    ) -> None:
        super().__init__()
        self.scalers = nn.ModuleDict({name: Scaler(width) for name, width in widths.items()})
        self.encoders = nn.ModuleDict(encoders)
        self.fuser = fuser
        self.injector = injector
        self.head = head

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities it encodes."""
        return tuple(self.encoders)

    def fit_scaler(self, modality: str, mean: Tensor, deviation: Tensor) -> None:
        """Scale a modality's features by the statistics [D] of the training split from now on."""
        scaler = self.scalers[modality]
        assert isinstance(scaler, Scaler)
        scaler.fit(mean, deviation)

    def forward(self, text: Sequence, modalities: Mapping[str, Sequence]) -> Injection:
        """Text [B, L, H] and features [B, T, D] to pseudo tokens [B, K, H]."""
        dtype = next((p.dtype for p in self.parameters()), torch.float32)
        encoded = {
            name: encoder(self.scalers[name](modalities[name]).to(text.values.device, dtype))
            for name, encoder in self.encoders.items()
        }
        fused = self.fuser(text.to(text.values.device, dtype), encoded)
        return Injection(self.injector(fused), fused)

    def count_parameters(self) -> dict[str, int]:
        """Trainable parameters of each part."""
        parts = {f"encoders.{name}": encoder for name, encoder in self.encoders.items()}
        parts |= {"fuser": self.fuser, "injector": self.injector}
        parts |= {} if self.head is None else {"head": self.head}
        return {
            name: sum(p.numel() for p in part.parameters() if p.requires_grad) for name, part in parts.items()
        }
