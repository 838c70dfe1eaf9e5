"""The trainable part of a pipeline: feature scaling, encoders, fuser, injector, and a head where one answers.

Legend: B batch, T frames, L text tokens, K pseudo tokens, D feature width, H backbone width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Encoded, Sequence

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


class Absent(nn.Module):
    """One learned vector in the place of a modality that a sample lacks.

    Args:
        size: Width of the encoder's output (E).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(0.02 * torch.randn(size))

    def forward(self, encoded: Encoded) -> Encoded:
        """The same, every sample present; an absent one has the vector as summary and as only frame."""
        absent = ~encoded.present
        summary, sequence = encoded.summary, encoded.sequence
        if summary is not None:
            summary = torch.where(absent[:, None], self.vector, summary)
        if sequence is not None:
            values = sequence.values
            if values.shape[1] == 0:
                values = values.new_zeros(len(absent), 1, values.shape[2])
            values = torch.where(absent[:, None, None], self.vector, values)
            sequence = Sequence(values, sequence.lengths.clamp(min=1))
        return Encoded(torch.ones_like(encoded.present), summary, sequence)


class Adapter(nn.Module):
    """Everything of a pipeline but its language model.

    Args:
        encoders: Modality to encoder.
        fuser: The fuser.
        injector: The token injector.
        widths: Modality to feature width (D).
        head: Reads the answer off the backbone's last state; None where answers are tokens.
        text_size: Width of the text states (H) where they are scaled; None leaves them as they are.
        absent_sizes: Width of the encoder of each modality for which, where a sample lacks it, a learned
            vector stands.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fuser: nn.Module,
        injector: nn.Module,
        *,
        widths: Mapping[str, int],
        head: AnswerHead | None = None,
        text_size: int | None = None,
        absent_sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.scalers = nn.ModuleDict({name: Scaler(width) for name, width in widths.items()})
        self.text_scaler = None if text_size is None else Scaler(text_size)
        self.encoders = nn.ModuleDict(encoders)
        self.fuser = fuser
        self.injector = injector
        self.head = head
        self.absent = nn.ModuleDict({name: Absent(size) for name, size in (absent_sizes or {}).items()})

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
        device = text.values.device
        encoded = {
            name: encoder(self.scalers[name](modalities[name]).to(device, dtype))
            for name, encoder in self.encoders.items()
        }
        encoded |= {name: absent(encoded[name]) for name, absent in self.absent.items()}
        scaled = text if self.text_scaler is None else self.text_scaler(text)
        fused = self.fuser(scaled.to(device, dtype), encoded)
        return Injection(self.injector(fused), fused)

    def count_parameters(self) -> dict[str, int]:
        """Trainable parameters of each part."""
        parts = {f"encoders.{name}": encoder for name, encoder in self.encoders.items()}
        parts |= {f"absent.{name}": absent for name, absent in self.absent.items()}
        parts |= {"fuser": self.fuser, "injector": self.injector}
        parts |= {} if self.head is None else {"head": self.head}
        return {
            name: sum(p.numel() for p in part.parameters() if p.requires_grad) for name, part in parts.items()
        }
