"""Settings of the CMPTA components (DOI 10.12677/csa.2026.161023). Defaults are our reading."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from msakit.core.settings import Settings


class BiLSTMConfig(Settings):
    """Settings of the encoder `bilstm`."""

    hidden_size: int = Field(default=64, gt=0, description="Width of the LSTM state of each direction.")
    output_size: int = Field(default=256, gt=0, description="Common width of the aligned sequences (E).")
    num_layers: int = Field(default=1, gt=0, description="Stacked LSTM layers.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout after the layer norm.")
    bidirectional: bool = Field(
        default=True, description="Read both directions; false is the paper's LSTM ablation."
    )


class CMPTAConfig(Settings):
    """Settings of the fuser `cmpta`."""

    size: int = Field(default=256, gt=0, description="Internal width (F), projected up by the injector.")
    num_heads: int = Field(default=8, gt=0, description="Attention heads; must divide the width.")
    pooling: Literal["mean", "query"] = Field(
        default="mean", description="How a pair's sequence becomes one token: masked mean or a learned query."
    )
    num_layers: int = Field(
        default=1, ge=0, description="Self-attention layers over the tokens; 0 leaves them out."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout in every attention.")
