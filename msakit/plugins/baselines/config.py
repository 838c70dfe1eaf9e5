"""Settings of the baselines."""

from __future__ import annotations

from pydantic import Field

from msakit.core.settings import Settings


class FrameConfig(Settings):
    """Settings of the encoder `none`."""

    output_size: int = Field(default=256, gt=0, description="Width of every frame and of the summary (E).")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the projected frames.")


class EmptyConfig(Settings):
    """The fuser `none` and the injector `none` have no setting."""


class PromptTuningConfig(Settings):
    """Settings of the fuser `prompt{tokens}`."""

    tokens: int = Field(default=6, gt=0, description="Learned constant tokens (K0).")
    size: int = Field(default=256, gt=0, description="Their width (F).")


class ConcatConfig(Settings):
    """Settings of the fuser `concat`."""

    size: int = Field(default=256, gt=0, description="Hidden and output width (F).")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout after the hidden layer.")
    normalise: bool = Field(default=True, description="Layer-normalise every stream first.")


class SumConfig(Settings):
    """Settings of the fuser `sum`."""

    size: int = Field(default=256, gt=0, description="Output width (F).")
    normalise: bool = Field(default=True, description="Layer-normalise every stream first.")


class TFNConfig(Settings):
    """Settings of the fuser `tfn`."""

    subnet_size: int = Field(
        default=16,
        gt=0,
        description="Width of each modality before the outer product, which has "
        "(subnet_size + 1) to the power of the number of modalities, text included, entries.",
    )
    size: int = Field(default=256, gt=0, description="Output width (F).")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the outer product.")
    normalise: bool = Field(default=True, description="Layer-normalise every stream first.")


class LMFConfig(Settings):
    """Settings of the fuser `lmf`."""

    rank: int = Field(default=4, gt=0, description="Rank of the factorised fusion tensor.")
    subnet_size: int = Field(default=64, gt=0, description="Width of each modality before the product.")
    size: int = Field(default=256, gt=0, description="Output width (F).")
    normalise: bool = Field(default=True, description="Layer-normalise every stream first.")


class MulTConfig(Settings):
    """Settings of the fuser `mult`."""

    size: int = Field(default=40, gt=0, description="Width of every stream.")
    output_size: int = Field(default=256, gt=0, description="Output width (F).")
    num_heads: int = Field(default=8, gt=0, description="Attention heads; must divide the width.")
    num_layers: int = Field(
        default=4, gt=0, description="Layers of each crossmodal and each self transformer."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout everywhere in the transformers.")
