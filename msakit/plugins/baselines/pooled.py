"""Fusers of one vector a modality: concatenation and addition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Fused
from msakit.plugins.nn import masked_mean, summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence


def stream_vectors(text: Sequence, modalities: Mapping[str, Encoded]) -> dict[str, tuple[Tensor, Tensor]]:
    """Text mean and summaries, [B, .], each with who has it, [B]; zeros where absent."""
    streams = {"text": (masked_mean(text.values, text.mask), text.present)}
    return streams | {name: (summary_of(encoded), encoded.present) for name, encoded in modalities.items()}


class ConcatFusion(nn.Module):
    """Text mean and summaries concatenated, Linear, GELU, Linear; one token.

    The early fusion every paper compares with (Morency et al., ICMI 2011, and after). An absent
    stream enters as zeros.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Hidden and output width (F).
        dropout: Dropout after the hidden layer.
    """

    num_tokens = 1

    def __init__(self, modality_sizes: Mapping[str, int], text_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.output_size = size
        self.modalities = tuple(modality_sizes)
        width = text_size + sum(modality_sizes.values())
        self.layers = nn.Sequential(
            nn.Linear(width, size), nn.GELU(), nn.Dropout(dropout), nn.Linear(size, size)
        )

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F]."""
        streams = stream_vectors(text, modalities)
        joined = torch.cat([streams[name][0] for name in ("text", *self.modalities)], dim=-1)
        return Fused(self.layers(joined)[:, None])


class SumFusion(nn.Module):
    """Text mean and summaries each projected, then added; one token.

    Purely additive: no stream changes what another says. An absent stream adds nothing.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Output width (F).
    """

    num_tokens = 1

    def __init__(self, modality_sizes: Mapping[str, int], text_size: int, size: int) -> None:
        super().__init__()
        self.output_size = size
        widths = {"text": text_size, **modality_sizes}
        self.projections = nn.ModuleDict({name: nn.Linear(width, size) for name, width in widths.items()})

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F]."""
        streams = stream_vectors(text, modalities)
        parts = [
            projection(streams[name][0]) * streams[name][1][:, None]
            for name, projection in self.projections.items()
        ]
        return Fused(torch.stack(parts).sum(dim=0)[:, None])
