"""Checkpoints in layouts transformers does not read, streamed into its models tensor by tensor.

Nothing of the checkpoint's own code runs, and at most one tensor exists twice at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from msakit.core.errors import InputError
from msakit.core.files import read_json

from .architecture import build_empty
from .devices import choose_device, choose_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor
    from transformers import PreTrainedModel

    from .codecs import TextCodec
    from .config import CausalLMConfig
    from .tensor_names import Named


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """How one family's checkpoints become a model of transformers'.

    Attributes:
        name: The model type in the checkpoint's config.json, and `weights.format` in the registry.
        architecture: The checkpoint's config.json to the facts of the model.
        convert: One tensor of the checkpoint, given the facts, to tensors of the model; nothing for
            tensors the model computes itself.
        codec: The tokenizer of a checkpoint folder.
        files: Patterns of the repository's files that the tokenizer needs.
        start: Tokens its prompts begin with.
    """

    name: str
    architecture: Callable[[Mapping[str, Any]], dict[str, Any]]
    convert: Callable[[str, Tensor, Mapping[str, Any]], list[Named]]
    codec: Callable[[Path], TextCodec]
    files: tuple[str, ...]
    start: tuple[str, ...]

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The facts of the model that a config.json describes.

        Raises:
            InputError: It lacks a key of this layout, or one holds something else.
        """
        try:
            return self.architecture(config)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"config.json is not that of a {self.name} checkpoint: {error}") from error


def load_converted(folder: Path, layout: CheckpointFormat, config: CausalLMConfig) -> PreTrainedModel:
    """The model of a checkpoint folder, on its device and in its dtype.

    Raises:
        InputError: The folder is no complete checkpoint of this layout.
    """
    if config.quantization != "none":
        raise InputError(
            f"{config.quantization} weights cannot be made while a checkpoint is converted.",
            hint="Load it unquantized once, save it with `backbone.save_pretrained(FOLDER)`, and set "
            "the backbone's path to that folder.",
        )
    facts = layout.facts(read_config(folder))
    model = build_empty(facts)
    device = choose_device(config.device)
    dtype = choose_dtype(config, device)
    for name, tensor in iterate_tensors(folder):
        for target, part in layout.convert(name, tensor, facts):
            _assign(model, target, part.to(device=device, dtype=dtype, copy=True), folder)
    missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if missing:
        raise InputError(
            f"The checkpoint in '{folder}' lacks {len(missing)} tensors, {missing[0]} among them."
        )
    decoder = model.get_decoder()
    decoder.rotary_emb = type(decoder.rotary_emb)(model.config).to(device)  # computed, not loaded
    model.tie_weights()
    return model.eval()


def iterate_tensors(folder: Path) -> Iterator[Named]:
    """Every tensor of a checkpoint, one file at a time; nothing in the files is executed.

    Raises:
        InputError: There are no weights, or a file cannot be read.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not files:
        raise InputError(f"The folder '{folder}' holds no weights: neither .safetensors nor .bin files.")
    for file in files:
        try:
            yield from _read_file(file)
        except UnpicklingError as error:
            raise InputError(f"The weights file '{file}' is refused: it holds more than tensors.") from error
        except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
            raise InputError(f"The weights file '{file}' cannot be read: {error}") from error


def _read_file(file: Path) -> Iterator[Named]:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                yield name, tensors.get_tensor(name)
    else:
        yield from torch.load(file, map_location="cpu", weights_only=True, mmap=True).items()


def _assign(model: PreTrainedModel, name: str, tensor: Tensor, folder: Path) -> None:
    try:
        outcome = model.load_state_dict({name: tensor}, strict=False, assign=True)
    except RuntimeError as error:
        raise InputError(f"The checkpoint in '{folder}' does not fit config.json: {error}") from error
    if outcome.unexpected_keys:
        raise InputError(f"The checkpoint in '{folder}' holds '{name}', which config.json has no place for.")


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        InputError: The folder has none, or it is not JSON.
    """
    file = folder / "config.json"
    if not file.exists():
        raise InputError(f"The folder '{folder}' holds no model: config.json is missing.")
    return read_json(file)


def require(facts: Mapping[str, Any], family: str, **expected: object) -> None:
    """Refuse variants of a family that its converter does not describe.

    Raises:
        InputError: A setting of config.json differs from what is expected.
    """
    for key, value in expected.items():
        if facts.get(key, value) != value:
            raise InputError(f"This {family} checkpoint has {key}={facts[key]!r} ; only {value!r} is known.")
