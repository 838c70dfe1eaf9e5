"""Configuration of `backbones.causal_lm`; importing it imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DtypeName = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["none", "8bit", "4bit"]


class LoraConfig(BaseModel):
    """Low-rank adaptation of the backbone (Hu et al. 2021), through peft.

    Attributes:
        rank: Rank r of the update.
        alpha: The update is scaled by alpha / rank.
        targets: Names of the linear layers to adapt, or "attention" (query, key, value and output
            projections), or "linear" (every linear layer of the decoder).
        dropout: On the input of the update, in training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    targets: Literal["attention", "linear"] | tuple[str, ...] = "attention"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class CausalLMConfig(BaseModel):
    """How a backbone is loaded and adapted.

    Attributes:
        adaptation: "frozen" trains nothing of the backbone; "lora" trains low-rank updates.
        lora: Settings of the low-rank updates; ignored by a frozen backbone.
        dtype: Of weights and activations.
        device: "auto" takes cuda, else mps, else cpu.
        quantization: Weights in 8 or 4 bit through bitsandbytes, on CUDA devices.
        path: A folder to read the weights from in place of the backbone's own source.
        revision: A hub revision in place of the backbone's own.
        trust_remote_code: Hub repositories whose own code may run.
        prefix_cache_mb: Memory for keys and values of prompt prefixes of a frozen backbone, which
            are then computed once a run; 0 computes them every time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adaptation: Literal["frozen", "lora"] = "frozen"
    lora: LoraConfig = LoraConfig()
    dtype: DtypeName = "float32"
    device: str = "auto"
    quantization: Quantization = "none"
    path: Path | None = None
    revision: str | None = None
    trust_remote_code: tuple[str, ...] = ()
    prefix_cache_mb: Annotated[int, Field(ge=0)] = 1024
