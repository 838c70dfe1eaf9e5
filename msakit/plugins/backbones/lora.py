"""Low-rank adaptation through peft, kept in peft's own format."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from msakit.core.errors import InputError

from .architecture import lora_layers

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from transformers import PreTrainedModel

    from .config import LoraConfig


def attach_lora(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    """Put trainable low-rank updates into a model; they start at zero, so nothing changes yet."""
    import peft

    names = sorted({name.rpartition(".")[2] for name, _ in lora_layers(model, config)})
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=names,
        task_type="CAUSAL_LM",
    )
    model.requires_grad_(requires_grad=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft's use of it
        return peft.get_peft_model(model, settings)


def load_lora(model: PeftModel, folder: Path) -> None:
    """Read updates that peft wrote into a model that has LoRA.

    Raises:
        InputError: The folder holds no updates, or they are for other layers or another rank.
    """
    import peft
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / "adapter_config.json").is_file():
        raise InputError(f"'{folder}' holds no LoRA adapter: adapter_config.json is missing.")
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        hint = "Pickled weights (adapter_model.bin) are not read: save them again as safetensors."
        raise InputError(f"'{folder}' holds no LoRA adapter: {file.name} is missing.", hint=hint)
    try:
        outcome = peft.set_peft_model_state_dict(model, load_file(file))
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"The LoRA adapter in '{folder}' does not fit the backbone: {error}") from error
    missing = [key for key in outcome.missing_keys if "lora_" in key]
    if missing or outcome.unexpected_keys:
        wrong = [*missing, *outcome.unexpected_keys]
        raise InputError(f"The LoRA adapter in '{folder}' does not fit: {wrong[0]} (one of {len(wrong)}).")
