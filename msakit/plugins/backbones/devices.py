"""Devices, dtypes and quantization by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import torch

from msakit.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from .config import CausalLMConfig, Quantization

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16")


def choose_dtype(config: CausalLMConfig, device: torch.device) -> torch.dtype:
    """The dtype a configuration asks for; "auto" is bfloat16 for a frozen backbone where that is fast.

    LoRA stays in float32 unless bfloat16 is named; its updates are float32 then too.
    """
    if config.dtype != "auto":
        return _DTYPES[config.dtype]
    fast = config.adaptation == "frozen" and computes_bfloat16(device)
    return torch.bfloat16 if fast else torch.float32


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has bfloat16 arithmetic of its own, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in _CPU_BFLOAT16)
    return False


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" takes cuda, else mps, else cpu.

    Raises:
        InputError: No such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"'{name}' is not a device.", hint="Use auto, cpu, mps, cuda or cuda:0.") from error
    absent = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if absent.get(device.type, False):
        raise InputError(f"The device '{name}' is not available here.", hint="Use device: auto, or cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"There is no '{name}': CUDA devices here: {torch.cuda.device_count()}.")
    return device


def quantization_settings(
    quantization: Quantization, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Arguments of `from_pretrained` that load weights in 8 or 4 bit; none for "none".

    Raises:
        InputError: The device cannot hold quantized weights.
        MissingExtraError: bitsandbytes is not installed.
    """
    if quantization == "none":
        return {}
    if device.type != "cuda":
        raise InputError(
            f"{quantization} weights need a CUDA device; this pipeline runs on '{device}'.",
            hint="Set quantization: none, or choose a smaller backbone.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError(f"{quantization} quantization", "bitsandbytes", "quantization")
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": config}
