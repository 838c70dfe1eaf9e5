"""MulT: crossmodal transformers between every ordered pair of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Fused, Sequence
from msakit.nn import Attention, TokenBlock, clean, keep_present, last_frame, sequence_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.tensors import Encoded


class CrossmodalLayer(nn.Module):
    """Attention from one stream to another, then a feed-forward layer, both pre-norm with residuals.

    Args:
        size: Width of both streams.
        num_heads: Attention heads.
        dropout: Dropout on attention weights and on both branches.
    """

    def __init__(self, size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(size)
        self.key_norm = nn.LayerNorm(size)
        self.attention = Attention(size, num_heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(size),
            nn.Linear(size, 4 * size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4 * size, size),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """Target [B, L, D] reinforced by source [B, T, D]."""
        keys = self.key_norm(source)
        target = target + self.dropout(self.attention(self.query_norm(target), keys, source_mask)[0])
        result: Tensor = target + self.dropout(self.feed_forward(target))
        return result


class CrossmodalTransformer(nn.Module):
    """Layers in which one stream attends to another.

    Args:
        size: Width of both streams.
        num_heads: Attention heads.
        num_layers: Layers.
        dropout: Dropout in them.
    """

    def __init__(self, size: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossmodalLayer(size, num_heads, dropout) for _ in range(num_layers))

    def forward(self, target: Tensor, source: Sequence) -> Tensor:
        """Target [B, L, D] reinforced by source [B, T, D]."""
        mask = source.mask
        for layer in self.layers:
            target = layer(target, source.values, mask)
        return target


class TargetStream(nn.Module):
    """One stream reinforced by each of the others, concatenated, self-attended, its last frame kept.

    Args:
        size: Width of every stream.
        num_sources: How many other streams there are.
        num_heads: Attention heads.
        num_layers: Layers of every transformer.
        dropout: Dropout in them.
    """

    def __init__(self, size: int, num_sources: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.crossmodal = nn.ModuleList(
            CrossmodalTransformer(size, num_heads, num_layers, dropout) for _ in range(num_sources)
        )
        self.memory = TokenBlock(size * num_sources, num_heads, num_layers, dropout)

    def forward(self, target: Sequence, sources: list[Sequence]) -> Tensor:
        """[B, L, D] to [B, D * num_sources]; zeros where the target is absent."""
        reinforced = [
            transformer(target.values, source)
            for transformer, source in zip(self.crossmodal, sources, strict=True)
        ]
        memory = self.memory(torch.cat(reinforced, dim=-1), target.mask)
        return keep_present(last_frame(Sequence(memory, target.lengths)), target.present)


class MultimodalTransformer(nn.Module):
    """Crossmodal transformers, no alignment needed; one token (Tsai et al., MulT, ACL 2019).

    Differences from the released code: no attention is causal, convolutions have width one, and the
    concatenated streams are projected to F for the injector instead of to a label. An absent source
    adds nothing to its targets; an absent target enters the last layers as zeros.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Width of every stream.
        output_size: Output width (F).
        num_heads: Attention heads.
        num_layers: Layers of every transformer.
        dropout: Dropout in them.

    Raises:
        ValueError: No modality is given, or the heads do not divide the width.
    """

    num_tokens = 1

    def __init__(
        self,
        modality_sizes: Mapping[str, int],
        text_size: int,
        size: int,
        output_size: int,
        num_heads: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if not modality_sizes:
            msg = "mult needs at least one modality beside the text"
            raise ValueError(msg)
        if size % num_heads or size % 2:
            msg = f"size {size} must be even and a multiple of num_heads {num_heads}"
            raise ValueError(msg)
        self.output_size = output_size
        widths = {"text": text_size, **modality_sizes}
        self.projections = nn.ModuleDict(
            {name: nn.Linear(width, size, bias=False) for name, width in widths.items()}
        )
        num_sources = len(modality_sizes)
        self.targets = nn.ModuleDict(
            {name: TargetStream(size, num_sources, num_heads, num_layers, dropout) for name in widths}
        )
        joined = size * num_sources * len(widths)
        self.residual = nn.Sequential(nn.Linear(joined, joined), nn.ReLU(), nn.Linear(joined, joined))
        self.output = nn.Linear(joined, output_size)

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and sequences [B, T, E] to one token [B, 1, F]."""
        streams = {"text": clean(text)}
        streams |= {name: sequence_of(modalities[name]) for name in self.projections if name != "text"}
        streams = {name: self._project(name, stream) for name, stream in streams.items()}
        vectors = [
            target(streams[name], [stream for other, stream in streams.items() if other != name])
            for name, target in self.targets.items()
        ]
        joined = torch.cat(vectors, dim=-1)
        return Fused(self.output(joined + self.residual(joined))[:, None])

    def _project(self, name: str, stream: Sequence) -> Sequence:
        values = self.projections[name](stream.values)
        return Sequence(values * values.shape[-1] ** 0.5 + positions(values), stream.lengths)


def positions(values: Tensor) -> Tensor:
    """Sinusoidal position embeddings [T, D] for values [B, T, D] of even width."""
    num_steps, size = values.shape[1:]
    steps = torch.arange(num_steps, device=values.device, dtype=torch.float32)
    rates = 10_000.0 ** (-torch.arange(0, size, 2, device=values.device, dtype=torch.float32) / size)
    angles = steps[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(values.dtype)
