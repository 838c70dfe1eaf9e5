"""Settings of the MSE-Adapter components (arXiv 2502.12478). The defaults are the paper's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from msakit.core.settings import Settings


class LSTMConfig(Settings):
    """Settings of the encoder `lstm`."""

    hidden_size: int = Field(default=64, gt=0, description="Width of the LSTM state; 16 to 64 in the paper.")
    output_size: int = Field(default=256, gt=0, description="Width of the summary (E).")
    num_layers: int = Field(default=1, gt=0, description="Stacked LSTM layers.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the output layer.")


class TGMConfig(Settings):
    """Settings of the fuser `tgm`."""

    scales: tuple[int, ...] = Field(
        default=(8, 32, 16),
        description="Divisors k of the multi-scale fusion; branch k has hidden width text_size // k. "
        "Empty is the ablation without it.",
    )
    gate_activation: Literal["none", "sigmoid", "tanh"] = Field(
        default="none", description="Activation of the text gate; the paper has none."
    )
    text_guide: bool = Field(
        default=True, description="Gate the modalities by the text; false is the ablation without the mixer."
    )
    normalise: bool = Field(
        default=False,
        description="Layer-normalise modalities and text mean before they are multiplied (not in the paper).",
    )
    residual: bool = Field(
        default=False,
        description="Add the mixed features to the multi-scale fusion's output (not in the paper).",
    )


class PseudoConfig(Settings):
    """Settings of the injector `pseudo{tokens}`."""

    tokens: int = Field(default=4, gt=0, description="Number of pseudo tokens (K).")
    expansion: Literal["auto", "linear", "queries"] = Field(
        default="auto",
        description="How K0 fused tokens become K. linear: a Linear over the token axis (MSE-Adapter). "
        "queries: K learned queries attend over the fused tokens. auto: linear from a single token, the "
        "tokens as they are where K = K0, else queries.",
    )
    rms: float | None = Field(
        default=None,
        gt=0,
        description="Give each pseudo token this root mean square at the start and learn it from there; "
        "none leaves their scale to the projection, as the paper does.",
    )
