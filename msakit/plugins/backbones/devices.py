"""Devices, dtypes and quantization by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import torch

from msakit.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from .config import DtypeName, Quantization

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def dtype_of(name: DtypeName) -> torch.dtype:
    """The torch dtype of a name."""
    return _DTYPES[name]


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
