"""EGMF's injection: one projected token, repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from msakit.core.tensors import Fused


class RepeatedTokens(nn.Module):
    """Linear F to H, repeated K times: all pseudo tokens are the same (EGMF, T = Repeat(Proj(f))).

    The paper's prefix and suffix are the prompt's tags; learned tokens before and after are offered
    beside them. Several fused tokens are averaged first.

    Args:
        input_size: Fused width (F).
        input_tokens: Fused tokens (K0), at least one.
        hidden_size: Backbone width (H).
        tokens: Repetitions.
        prefix_tokens: Learned tokens before.
        suffix_tokens: Learned tokens after.

    Raises:
        ValueError: There is no fused token to repeat.
    """

    def __init__(
        self,
        input_size: int,
        input_tokens: int,
        hidden_size: int,
        tokens: int,
        prefix_tokens: int,
        suffix_tokens: int,
    ) -> None:
        super().__init__()
        if input_tokens < 1:
            msg = "repeat needs a fuser that gives tokens"
            raise ValueError(msg)
        self.tokens = tokens
        self.num_tokens = prefix_tokens + tokens + suffix_tokens
        self.projection = nn.Linear(input_size, hidden_size)
        self.prefix = nn.Parameter(0.02 * torch.randn(prefix_tokens, hidden_size))
        self.suffix = nn.Parameter(0.02 * torch.randn(suffix_tokens, hidden_size))

    def forward(self, fused: Fused) -> Tensor:
        """[B, K0, F] to [B, prefix + K + suffix, H]."""
        token = self.projection(fused.tokens.mean(dim=1, keepdim=True))
        batch = token.shape[0]
        parts = [self.prefix.expand(batch, -1, -1), token.expand(-1, self.tokens, -1)]
        return torch.cat([*parts, self.suffix.expand(batch, -1, -1)], dim=1)
