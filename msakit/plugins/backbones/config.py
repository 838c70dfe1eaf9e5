"""Configuration of `backbones.causal_lm`; importing it imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from msakit.core.settings import Settings

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "8bit", "4bit"]


class LoraConfig(Settings):
    """Low-rank adaptation of the backbone (Hu et al. 2021), through peft."""

    rank: int = Field(default=8, ge=1, description="Rank r of the update.")
    alpha: float = Field(default=16.0, gt=0, description="The update is scaled by alpha / rank.")
    targets: Literal["attention", "linear"] | tuple[str, ...] = Field(
        default="attention",
        description="attention: query, key, value and output projections; linear: every linear layer of "
        "the decoder; or names of layers.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="On the input of the update, in training.")


class CausalLMConfig(Settings):
    """How a backbone is loaded and adapted."""

    adaptation: Literal["frozen", "lora"] = Field(
        default="frozen",
        description="frozen trains nothing of the backbone; lora trains low-rank updates of it.",
    )
    lora: LoraConfig = Field(
        default=LoraConfig(), description="The low-rank updates; ignored by a frozen backbone."
    )
    dtype: DtypeName = Field(
        default="auto",
        description="Of weights and activations. auto: bfloat16 for a frozen backbone where the processor "
        "computes in it (avx512_bf16, amx_bf16; a CUDA device that has it), else float32.",
    )
    device: str = Field(default="auto", description="auto takes cuda, else mps, else cpu.")
    quantization: Quantization = Field(
        default="none", description="Weights in 8 or 4 bit through bitsandbytes, on CUDA devices."
    )
    path: Path | None = Field(
        default=None, description="A folder to read the weights from in place of the backbone's own source."
    )
    revision: str | None = Field(default=None, description="A hub revision in place of the backbone's own.")
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations again in the backward pass: far less memory, about a third more "
        "time, the same numbers.",
    )
    prefix_cache_mb: int = Field(
        default=1024,
        ge=0,
        description="Memory for keys and values of a frozen backbone's prompt prefixes, which are then "
        "computed once a run; 0 computes them every time.",
    )

    @model_validator(mode="before")
    @classmethod
    def _grant_nothing(cls, settings: Any) -> Any:
        """Refuse consent to run code; the empty list that earlier versions wrote is dropped."""
        if not isinstance(settings, dict) or "trust_remote_code" not in settings:
            return settings
        settings = dict(settings)
        if settings.pop("trust_remote_code"):
            msg = "code is not trusted by a file: give --trust-remote-code on the command line"
            raise ValueError(msg)
        return settings

    @property
    def frozen(self) -> bool:
        """Whether training leaves the backbone as it is."""
        return self.adaptation == "frozen"
