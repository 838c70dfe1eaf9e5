"""Fusers of one vector a modality: concatenation and addition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Fused
from msakit.nn import keep_present, masked_mean, summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence


class StreamVectors(nn.Module):
    """One vector a stream: the text's mean embedding and the modalities' summaries.

    Args:
        widths: Width of each stream, "text" among them.
        normalise: Layer-normalise each; backbones differ in the scale of their embeddings.
    """

    def __init__(self, widths: Mapping[str, int], *, normalise: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleDict(
            {name: nn.LayerNorm(width) if normalise else nn.Identity() for name, width in widths.items()}
        )

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> dict[str, tuple[Tensor, Tensor]]:
        """Every stream [B, width], zeros where absent, with who has it [B]; in the order of `widths`."""
        streams = {"text": (masked_mean(text.values, text.mask), text.present)}
        streams |= {name: (summary_of(encoded), encoded.present) for name, encoded in modalities.items()}
        return {
            name: (keep_present(norm(streams[name][0]), streams[name][1]), streams[name][1])
            for name, norm in self.norms.items()
        }


class ConcatFusion(nn.Module):
    """Text mean and summaries concatenated, Linear, GELU, Linear; one token.

    The early fusion every paper compares with (Morency et al., ICMI 2011, and after). An absent
    stream enters as zeros.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Hidden and output width (F).
        dropout: Dropout after the hidden layer.
        normalise: Layer-normalise every stream first.
    """

    num_tokens = 1

    def __init__(
        self, modality_sizes: Mapping[str, int], text_size: int, size: int, dropout: float, *, normalise: bool
    ) -> None:
        super().__init__()
        self.output_size = size
        widths = {"text": text_size, **modality_sizes}
        self.streams = StreamVectors(widths, normalise=normalise)
        width = sum(widths.values())
        self.layers = nn.Sequential(
            nn.Linear(width, size), nn.GELU(), nn.Dropout(dropout), nn.Linear(size, size)
        )

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F]."""
        joined = torch.cat([values for values, _ in self.streams(text, modalities).values()], dim=-1)
        return Fused(self.layers(joined)[:, None])


class SumFusion(nn.Module):
    """Text mean and summaries each projected, then added; one token.

    Purely additive: no stream changes what another says. An absent stream adds nothing.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Output width (F).
        normalise: Layer-normalise every stream first.
    """

    num_tokens = 1

    def __init__(
        self, modality_sizes: Mapping[str, int], text_size: int, size: int, *, normalise: bool
    ) -> None:
        super().__init__()
        self.output_size = size
        widths = {"text": text_size, **modality_sizes}
        self.streams = StreamVectors(widths, normalise=normalise)
        self.projections = nn.ModuleDict({name: nn.Linear(width, size) for name, width in widths.items()})

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F]."""
        parts = [
            keep_present(self.projections[name](values), present)
            for name, (values, present) in self.streams(text, modalities).items()
        ]
        return Fused(torch.stack(parts).sum(dim=0)[:, None])
