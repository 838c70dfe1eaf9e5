"""Fusers that multiply modalities with each other: TFN and its low-rank form LMF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Fused
from msakit.nn import keep_present

from .pooled import StreamVectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence

LARGEST_PRODUCT = 1_000_000


class Subnets(nn.Module):
    """Each stream, text included, through its own Linear and ReLU, with a constant 1 appended.

    An absent stream is zeros and the 1: of all products only those without it remain.

    Args:
        widths: Width of each stream.
        size: Width out, before the 1 is appended.
        normalise: Layer-normalise every stream first.
    """

    def __init__(self, widths: Mapping[str, int], size: int, *, normalise: bool) -> None:
        super().__init__()
        self.streams = StreamVectors(widths, normalise=normalise)
        self.layers = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(width, size), nn.ReLU()) for name, width in widths.items()}
        )

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> list[Tensor]:
        """Every stream as [B, size + 1], text first."""
        vectors = []
        for name, (values, present) in self.streams(text, modalities).items():
            hidden = keep_present(self.layers[name](values), present)
            vectors.append(torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=-1))
        return vectors


class TensorFusion(nn.Module):
    """The outer product of all streams, Linear, ReLU; one token (Zadeh et al., TFN, EMNLP 2017).

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        subnet_size: Width of each stream before the product.
        size: Output width (F).
        dropout: Dropout on the product.
        normalise: Layer-normalise every stream first.

    Raises:
        ValueError: The product would have over a million entries.
    """

    num_tokens = 1

    def __init__(
        self,
        modality_sizes: Mapping[str, int],
        text_size: int,
        subnet_size: int,
        size: int,
        dropout: float,
        *,
        normalise: bool,
    ) -> None:
        super().__init__()
        product = (subnet_size + 1) ** (len(modality_sizes) + 1)
        if product > LARGEST_PRODUCT:
            msg = f"the outer product has {product} entries; lower subnet_size {subnet_size}, or use lmf"
            raise ValueError(msg)
        self.output_size = size
        self.subnets = Subnets({"text": text_size, **modality_sizes}, subnet_size, normalise=normalise)
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(product, size), nn.ReLU())

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F]."""
        first, *others = self.subnets(text, modalities)
        product = first
        for other in others:
            product = (product[:, :, None] * other[:, None, :]).flatten(start_dim=1)
        return Fused(self.layers(product)[:, None])


class LowRankFusion(nn.Module):
    """The outer product's Linear in factors of low rank; one token (Liu et al., LMF, ACL 2018).

    Factors start with ones against the constant 1 and with a Linear's spread elsewhere, so that the
    product starts near 1 plus what each stream adds; the released code's Xavier start makes it vanish.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        rank: Rank of the factorised tensor.
        subnet_size: Width of each stream before the product.
        size: Output width (F).
        normalise: Layer-normalise every stream first.
    """

    num_tokens = 1

    def __init__(
        self,
        modality_sizes: Mapping[str, int],
        text_size: int,
        rank: int,
        subnet_size: int,
        size: int,
        *,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.output_size = size
        widths = {"text": text_size, **modality_sizes}
        self.subnets = Subnets(widths, subnet_size, normalise=normalise)
        self.factors = nn.ParameterList(_factor(rank, subnet_size, size) for _ in widths)
        self.weights = nn.Parameter(torch.randn(rank) / rank**0.5)
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F]."""
        vectors = self.subnets(text, modalities)
        parts = [
            torch.einsum("bd,rdf->brf", vector, factor)
            for vector, factor in zip(vectors, self.factors, strict=True)
        ]
        product = torch.stack(parts).prod(dim=0)
        return Fused((torch.einsum("r,brf->bf", self.weights, product) + self.bias)[:, None])


def _factor(rank: int, size: int, output_size: int) -> Tensor:
    """One stream's factors [rank, size + 1, output_size], the constant's row last."""
    spread = torch.randn(rank, size, output_size) / size**0.5
    return torch.cat([spread, torch.ones(rank, 1, output_size)], dim=1)
