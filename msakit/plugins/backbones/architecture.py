"""Models from architecture facts alone: with random weights, or on the meta device with none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from msakit.core.errors import InputError

from .devices import choose_device, choose_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from .config import CausalLMConfig, LoraConfig

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_LARGEST = {"hidden_size": 1 << 17, "vocab_size": 1 << 24, "num_hidden_layers": 1 << 10}
_MAX_COUNT = 1 << 14
_MAX_NUMBER = 1 << 31
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """The size of a backbone.

    Attributes:
        hidden_size: H.
        num_layers: Decoder layers.
        vocab_size: Rows of the embedding table.
        num_parameters: All of them, tied ones counted once, LoRA's not included.
        num_trainable: LoRA's; 0 for a frozen backbone.
        weight_bytes: Memory of the weights as loaded.
    """

    hidden_size: int
    num_layers: int
    vocab_size: int
    num_parameters: int
    num_trainable: int
    weight_bytes: int


def check_facts(facts: Mapping[str, Any], *, depth: int = 0) -> None:
    """Refuse sizes no model has, before anything is built of them.

    Raises:
        InputError: Names the key.
    """
    for key, value in facts.items():
        if isinstance(value, Mapping):
            if depth == _MAX_DEPTH:
                raise InputError(f"config.json: '{key[:80]}' is nested too deeply for an architecture.")
            check_facts(value, depth=depth + 1)
        largest = _LARGEST.get(key, _MAX_COUNT if key.startswith(("num_", "n_")) else _MAX_NUMBER)
        is_size = isinstance(value, int) and not isinstance(value, bool)
        if key in _LARGEST and not (is_size and 0 < value <= largest):
            raise InputError(f"config.json: {key} should be a whole number from 1 to {largest:,}.")
        if is_size and abs(value) > largest:
            raise InputError(f"config.json: {key[:80]} is larger than {largest:,}, which no model has.")


def check_size(facts: Mapping[str, Any], weight_bytes: int) -> None:
    """Refuse an architecture that its weights cannot fill, before memory is taken for it.

    Raises:
        InputError: There are more parameters than the files hold, at half a byte each.
    """
    if facts.get("model_type") not in CONFIG_MAPPING:
        return  # transformers refuses it, or asks for code of its own
    described = sum(parameter.numel() for parameter in build_empty(facts).parameters())
    if described > 2 * weight_bytes:
        raise InputError(
            f"config.json describes {described:,} parameters, but the weights hold {weight_bytes:,} bytes.",
            hint="Is the checkpoint complete?",
        )


def build_random(architecture: Mapping[str, Any], seed: int) -> PreTrainedModel:
    """A model with random weights: the same seed gives the same weights, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(_config(architecture), attn_implementation="sdpa")


def build_empty(architecture: Mapping[str, Any]) -> PreTrainedModel:
    """A model on the meta device."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(_config(architecture), attn_implementation="sdpa")
    model.tie_weights()
    return model


def measure(architecture: Mapping[str, Any], config: CausalLMConfig) -> BackboneFacts:
    """Sizes of a backbone from its architecture facts; loads and allocates nothing."""
    model = build_empty(architecture)
    total = sum(parameter.numel() for parameter in model.parameters())
    text = model.config.get_text_config()
    return BackboneFacts(
        hidden_size=text.hidden_size,
        num_layers=text.num_hidden_layers,
        vocab_size=text.vocab_size,
        num_parameters=total,
        num_trainable=0 if config.frozen else count_lora(model, config.lora),
        weight_bytes=_weight_bytes(model, total, config),
    )


def count_lora(model: PreTrainedModel, config: LoraConfig) -> int:
    """Trainable parameters of LoRA: rank x (inputs + outputs) for every adapted layer."""
    return sum(
        config.rank * (layer.in_features + layer.out_features) for _, layer in lora_layers(model, config)
    )


def lora_layers(model: PreTrainedModel, config: LoraConfig) -> list[tuple[str, nn.Linear]]:
    """The linear layers LoRA adapts, by name.

    Raises:
        InputError: A target names no linear layer of the model.
    """
    layers = list(_decoder_linears(model))
    if config.targets == "linear":
        return layers
    names = {name.rpartition(".")[2] for name, _ in layers}
    targets = _ATTENTION if config.targets == "attention" else config.targets
    unknown = [target for target in targets if target not in names]
    if unknown:
        raise InputError(
            f"LoRA cannot adapt {', '.join(unknown)}: the backbone has no such layer.",
            hint=f"Its linear layers are: {', '.join(sorted(names))}.",
        )
    return [(name, layer) for name, layer in layers if name.rpartition(".")[2] in targets]


def _decoder_linears(model: PreTrainedModel) -> Iterator[tuple[str, nn.Linear]]:
    head = model.get_output_embeddings()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer is not head:
            yield name, layer


def _weight_bytes(model: PreTrainedModel, total: int, config: CausalLMConfig) -> int:
    plain = choose_dtype(config, choose_device(config.device)).itemsize
    if config.quantization == "none":
        return total * plain
    linear = sum(layer.weight.numel() for _, layer in _decoder_linears(model))
    bits = {"8bit": 8, "4bit": 4}[config.quantization]
    return (total - linear) * plain + linear * bits // 8


def _config(architecture: Mapping[str, Any]) -> Any:
    check_facts(architecture)
    facts = dict(architecture)
    try:
        return AutoConfig.for_model(facts.pop("model_type"), **facts)
    except Exception as error:  # whatever a stranger's facts make transformers raise
        reason = str(error)[:200]
        raise InputError(f"The backbone's architecture is not one transformers knows: {reason}") from error
