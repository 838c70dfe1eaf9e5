"""Settings of the EGMF components (arXiv 2601.07565). The paper leaves most of them open."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from msakit.core.settings import Settings


class AVConfig(Settings):
    """Settings of the encoder `av`."""

    hidden_size: int = Field(default=64, gt=0, description="Width of the LSTM state of each direction.")
    output_size: int = Field(default=256, gt=0, description="Width of the sequence (E).")
    num_layers: int = Field(default=1, gt=0, description="Stacked LSTM layers.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout on the sequence.")


class EGMFConfig(Settings):
    """Settings of the fuser `egmf`."""

    size: int = Field(default=256, gt=0, multiple_of=8, description="Width of the fusion (F).")
    experts: tuple[Literal["local", "semantic", "global"], ...] = Field(
        default=("local", "semantic", "global"),
        min_length=1,
        description="Experts to keep: local (bottleneck 1/8, Mish), semantic (1/4, GELU), "
        "global (1/2, SiLU). Leaving one out is the paper's ablation.",
    )
    gate: Literal["hierarchical", "single_stage", "static"] = Field(
        default="hierarchical",
        description="How experts are weighted: feature-driven then context-aware gate; the first gate "
        "alone; or equal weights.",
    )
    residual: bool = Field(default=True, description="Add the fused features to the experts' mixture.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout in attention and on experts.")


class RepeatConfig(Settings):
    """Settings of the injector `repeat{tokens}`."""

    tokens: int = Field(default=4, gt=0, description="How often the projected token is repeated (K).")
    prefix_tokens: int = Field(default=0, ge=0, description="Learned tokens before the repeated ones.")
    suffix_tokens: int = Field(default=0, ge=0, description="Learned tokens after the repeated ones.")
