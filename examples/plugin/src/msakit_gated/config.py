"""Settings of the fuser `gated`; importing them must not import torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GatedConfig(BaseModel):
    """Settings of the fuser `gated`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=256, gt=0, description="Width of the fused token (F).")
