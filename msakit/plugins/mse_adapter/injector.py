"""The projector of MSE-Adapter: fused tokens to pseudo tokens of the backbone's width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from msakit.plugins.nn import RMSScale

if TYPE_CHECKING:
    from torch import Tensor

    from msakit.core.tensors import Fused


class PseudoTokens(nn.Module):
    """Linear F to H, then Linear K0 to K over the token axis (MSE-Adapter, P = W4 (W3 M)^T).

    From one fused token, all K are that token times a scalar plus a constant: a matrix of rank two.

    Args:
        input_size: Fused width (F).
        input_tokens: Fused tokens (K0).
        hidden_size: Backbone width (H).
        tokens: Pseudo tokens (K).
        rms: Root mean square each token starts with, or None to leave their scale alone.
    """

    def __init__(
        self, input_size: int, input_tokens: int, hidden_size: int, tokens: int, rms: float | None
    ) -> None:
        super().__init__()
        self.num_tokens = tokens
        self.projection = nn.Linear(input_size, hidden_size)
        self.expansion = nn.Linear(input_tokens, tokens)
        self.scale = None if rms is None else RMSScale(rms)

    def forward(self, fused: Fused) -> Tensor:
        """[B, K0, F] to [B, K, H]."""
        wide = self.projection(fused.tokens)
        tokens: Tensor = self.expansion(wide.transpose(1, 2)).transpose(1, 2)
        return self.scale(tokens) if self.scale is not None else tokens
