"""The projector of MSE-Adapter: fused tokens to pseudo tokens of the backbone's width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from msakit.nn import RMSScale

if TYPE_CHECKING:
    from msakit.core.tensors import Fused


QUERY_SCALE = 4.0


class LearnedQueries(nn.Module):
    """K learned queries attending over K0 tokens: softmax(Q N(X)^T / sqrt(H)) X, N to unit root mean square.

    Without N, and with queries of unit variance, the scores are near zero at the start, every query reads
    the same mean, and K tokens are one: mean cosine .99 between a sample's tokens, .84 with both (the
    fused tokens' own: .64).

    Args:
        size: Token width.
        num_queries: Queries (K).
    """

    def __init__(self, size: int, num_queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(QUERY_SCALE * torch.randn(num_queries, size))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, K0, H] to [B, K, H]."""
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        keys = nn.functional.rms_norm(tokens, tokens.shape[-1:], eps=1e-8)
        return nn.functional.scaled_dot_product_attention(queries, keys, tokens)


class TokenExpansion(nn.Linear):
    """A Linear over the token axis, K0 to K."""

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, K0, H] to [B, K, H]."""
        return super().forward(tokens.transpose(1, 2)).transpose(1, 2)


class PseudoTokens(nn.Module):
    """Linear F to H, then K0 tokens to K.

    One fused token is expanded by a Linear over the token axis (MSE-Adapter, P = W4 (W3 M)^T): every
    pseudo token is that token times a scalar plus a constant, together a matrix of rank two. Several
    fused tokens stay as they are where K = K0, else K learned queries attend over them (CMPTA).

    Args:
        input_size: Fused width (F).
        input_tokens: Fused tokens (K0), at least one.
        hidden_size: Backbone width (H).
        tokens: Pseudo tokens (K).
        expansion: "auto", "linear" or "queries".
        rms: Root mean square each token starts with, or None to leave their scale alone.

    Raises:
        ValueError: There is no fused token to project.
    """

    def __init__(
        self,
        input_size: int,
        input_tokens: int,
        hidden_size: int,
        tokens: int,
        expansion: str,
        rms: float | None,
    ) -> None:
        super().__init__()
        if input_tokens < 1:
            msg = "pseudo needs a fuser that gives tokens"
            raise ValueError(msg)
        self.num_tokens = tokens
        self.projection = nn.Linear(input_size, hidden_size)
        if expansion == "auto" and input_tokens == tokens > 1:
            self.expansion: nn.Module = nn.Identity()
        elif expansion == "queries" or (expansion == "auto" and input_tokens > 1):
            self.expansion = LearnedQueries(hidden_size, tokens)
        else:
            self.expansion = TokenExpansion(input_tokens, tokens)
        self.scale = nn.Identity() if rms is None else RMSScale(rms)

    def forward(self, fused: Fused) -> Tensor:
        """[B, K0, F] to [B, K, H]."""
        pseudo: Tensor = self.scale(self.expansion(self.projection(fused.tokens)))
        return pseudo
