"""Baselines that never look at audio or vision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.tensors import Fused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence


class NoFusion(nn.Module):
    """No tokens at all: the backbone reads the text-only prompt. Nothing is trained.

    Args:
        modality_sizes: Ignored.
        text_size: Backbone width (H).
    """

    num_tokens = 0

    def __init__(self, modality_sizes: Mapping[str, int], text_size: int) -> None:
        super().__init__()
        self.output_size = text_size

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Anything to [B, 0, H]."""
        return Fused(text.values.new_zeros(text.values.shape[0], 0, self.output_size))


class PromptFusion(nn.Module):
    """Learned tokens, the same for every sample: prompt tuning (Lester et al., EMNLP 2021).

    The fair text-only baseline: it trains as many tokens as a fuser gives, but sees no modality.
    Here the tokens have width F and pass through the injector's projection.

    Args:
        modality_sizes: Ignored.
        text_size: Ignored.
        tokens: Learned tokens (K0).
        size: Their width (F).
    """

    def __init__(self, modality_sizes: Mapping[str, int], text_size: int, tokens: int, size: int) -> None:
        super().__init__()
        self.num_tokens = tokens
        self.output_size = size
        self.tokens = nn.Parameter(torch.randn(tokens, size))

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Anything to [B, K0, F]."""
        return Fused(self.tokens.expand(text.values.shape[0], -1, -1))


class NoInjection(nn.Module):
    """No pseudo tokens.

    Args:
        input_size: Ignored.
        input_tokens: Fused tokens; there must be none.
        hidden_size: Backbone width (H).

    Raises:
        ValueError: The fuser gives tokens, which would be thrown away.
    """

    num_tokens = 0

    def __init__(self, input_size: int, input_tokens: int, hidden_size: int) -> None:
        super().__init__()
        if input_tokens:
            msg = "the injector none would throw the fuser's tokens away"
            raise ValueError(msg)
        self.hidden_size = hidden_size

    def forward(self, fused: Fused) -> Tensor:
        """[B, 0, F] to [B, 0, H]."""
        return fused.tokens.new_zeros(fused.tokens.shape[0], 0, self.hidden_size)
