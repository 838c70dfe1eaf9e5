"""Models from architecture facts alone: with random weights, or on the meta device with none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import PreTrainedModel

    from .config import CausalLMConfig, LoraConfig

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


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
        num_trainable=count_lora(model, config.lora) if config.adaptation == "lora" else 0,
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
    plain = 4 if config.dtype == "float32" else 2
    if config.quantization == "none":
        return total * plain
    linear = sum(layer.weight.numel() for _, layer in _decoder_linears(model))
    bits = {"8bit": 8, "4bit": 4}[config.quantization]
    return (total - linear) * plain + linear * bits // 8


def _config(architecture: Mapping[str, Any]) -> Any:
    facts = dict(architecture)
    try:
        return AutoConfig.for_model(facts.pop("model_type"), **facts)
    except (KeyError, ValueError) as error:
        raise InputError(f"The backbone's architecture is not one transformers knows: {error}") from error
