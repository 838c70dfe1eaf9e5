"""The cross-modal pseudo-token adapter: one token for every ordered pair of streams."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.interfaces import Diagnostic
from msakit.core.tensors import Fused
from msakit.nn import Attention, TokenBlock, clean, ignored_keys, masked_mean, project, sequence_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence


class QueryPooling(nn.Module):
    """Attention pooling with one learned query.

    Args:
        size: Width of the sequence.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(size))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B, T, D] with mask [B, T] to [B, D]; zero where the mask is empty."""
        ignore, some = ignored_keys(mask)
        scores = values @ self.query / values.shape[-1] ** 0.5
        weights = scores.masked_fill(ignore, float("-inf")).softmax(dim=-1)
        pooled: Tensor = (weights * some[:, None])[:, None].matmul(values)[:, 0]
        return pooled


class CrossModalTokens(nn.Module):
    """Every stream attends to every other; each pair is pooled to a token; the tokens attend to each other.

    With text and two modalities these are the paper's six tokens {t1, t2, v1, v2, a1, a2} (Eqs. 6-9):
    text first, then the modalities in the order given, and within each its partners in the same
    order. A pair one of whose sides is absent contributes a zero token that no other token sees.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Internal width (F).
        num_heads: Attention heads.
        pooling: "mean" or "query".
        num_layers: Self-attention layers over the tokens.
        dropout: Dropout in every attention.

    Raises:
        ValueError: No modality is given, or the heads do not divide the width.
    """

    def __init__(
        self,
        modality_sizes: Mapping[str, int],
        text_size: int,
        size: int,
        num_heads: int,
        pooling: str,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if not modality_sizes:
            msg = "cmpta needs at least one modality beside the text"
            raise ValueError(msg)
        if size % num_heads:
            msg = f"num_heads {num_heads} does not divide size {size}"
            raise ValueError(msg)
        self.modalities = tuple(modality_sizes)
        self.pairs = list(itertools.permutations(("text", *self.modalities), 2))
        self.num_tokens = len(self.pairs)
        self.output_size = size
        self.text_projection = nn.Linear(text_size, size)
        self.projections = nn.ModuleDict(
            {name: project(width, size) for name, width in modality_sizes.items()}
        )
        self.attentions = nn.ModuleList(Attention(size, num_heads, dropout) for _ in self.pairs)
        self.pools = nn.ModuleList(QueryPooling(size) for _ in self.pairs if pooling == "query")
        self.block = TokenBlock(size, num_heads, num_layers, dropout)

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and sequences [B, T, E] to one token a pair, [B, K0, F].

        Diagnostics, in evaluation mode: `attention_text_<modality>` [B, L, T], the text's attention
        over a modality's frames, averaged over heads; zero where either side is padding or absent.
        """
        streams = self._streams(text, modalities)
        tokens, masks, diagnostics = [], [], {}
        for index, (asking, asked) in enumerate(self.pairs):
            queries, mask = streams[asking]
            show = asking == "text" and not self.training
            mixed, weights = self.attentions[index](queries, *streams[asked], need_weights=show)
            pool = self.pools[index] if self.pools else masked_mean
            tokens.append(pool(mixed, mask))
            masks.append(mask.any(dim=1) & streams[asked][1].any(dim=1))
            if weights is not None:
                diagnostics[f"attention_text_{asked}"] = weights.detach() * mask[..., None]
        fused = self.block(torch.stack(tokens, dim=1), torch.stack(masks, dim=1))
        return Fused(fused, diagnostics=diagnostics)

    @property
    def diagnostics(self) -> dict[str, Diagnostic]:
        """The diagnostics that `forward` returns in evaluation mode."""
        return {
            f"attention_text_{name}": Diagnostic("map", ("text", name), f"attention of the text over {name}")
            for name in self.modalities
        }

    def diagnose(self, diagnostics: Mapping[str, Tensor]) -> list[str]:
        """Nothing to check: it shows maps alone."""
        return []

    def _streams(self, text: Sequence, modalities: Mapping[str, Encoded]) -> dict[str, tuple[Tensor, Tensor]]:
        """Every stream at the internal width with its mask."""
        words = clean(text)
        streams = {"text": (self.text_projection(words.values), words.mask)}
        for name in self.modalities:
            frames = sequence_of(modalities[name])
            streams[name] = (self.projections[name](frames.values), frames.mask)
        return streams
