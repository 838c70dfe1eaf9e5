"""Where backbones come from: `load` gives one with weights, `meta` its size without any.

`BackboneSpec.weights` says how: `source` is "random" (a seed), "package" (an installed package carries
the file, else the hub) or "hub"; `format` names a checkpoint layout that is not transformers' own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from msakit.core.errors import InputError
from msakit.core.specs import BackboneSpec
from msakit.plugins.backbones.architecture import BackboneFacts, build_random, measure
from msakit.plugins.backbones.causal_lm import CausalLM
from msakit.plugins.backbones.codecs import ByteCodec, TextCodec
from msakit.plugins.backbones.devices import choose_device, dtype_of
from msakit.plugins.backbones.lora import attach_lora
from msakit.plugins.backbones.pretrained import explain_failure, load_pretrained
from msakit.plugins.backbones.smollm import expanded_folder, find_gguf

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from msakit.plugins.backbones.config import CausalLMConfig


def load(spec: BackboneSpec, config: CausalLMConfig) -> CausalLM:
    """A backbone with its weights, on its device, adapted as the configuration says.

    Raises:
        InputError: The folder, device or LoRA targets given do not fit.
        MsakitError: The weights cannot be had.
    """
    model, codec = _load_model(spec, config)
    start_ids = _start_ids(spec, codec)
    adapted = attach_lora(model, config.lora) if config.adaptation == "lora" else model
    return CausalLM(adapted, codec, start_ids, prefix_cache_mb=config.prefix_cache_mb)  # type: ignore[arg-type]


def meta(spec: BackboneSpec, config: CausalLMConfig) -> BackboneFacts:
    """The size of a backbone, exactly, without its weights."""
    return measure(spec.architecture, config)


def describe(name: str) -> BackboneSpec:
    """The description of a backbone that no registry names: `hf:ORG/NAME`, or a folder.

    Raises:
        InputError: The folder has no config.json.
        MsakitError: The hub could not be reached.
    """
    location = name.removeprefix("hf:")
    architecture = _read_architecture(location)
    return BackboneSpec(
        name=name,
        weights={"source": "hub", "repository": location},
        architecture=architecture,
        prompt={"start": "bos"},
    )


def _load_model(spec: BackboneSpec, config: CausalLMConfig) -> tuple[PreTrainedModel, TextCodec]:
    weights = spec.weights
    if config.path is not None and not config.path.is_dir():
        raise InputError(f"The backbone's path '{config.path}' is not a folder.")
    if weights["source"] == "random" and config.path is None:
        model = build_random(spec.architecture, int(weights.get("seed", 0)))
        return model.to(device=choose_device(config.device), dtype=dtype_of(config.dtype)), ByteCodec()  # type: ignore[arg-type]
    location: str | Path | None = config.path
    if location is None and weights["source"] == "package":
        gguf = find_gguf(weights["package"])
        location = None if gguf is None else expanded_folder(gguf, spec.name)
    if location is not None:
        return load_pretrained(location, config)
    return load_pretrained(weights["repository"], config, revision=config.revision or weights.get("revision"))


def _start_ids(spec: BackboneSpec, codec: TextCodec) -> list[int]:
    """Ids of `prompt.start`: token names; "bos" is left out where the tokenizer has none."""
    start = spec.prompt.get("start", "bos")
    names = [start] if isinstance(start, str) else list(start)
    ids = {name: codec.token_id(name) for name in names}
    unknown = [name for name, token in ids.items() if token is None and name != "bos"]
    if unknown:
        raise InputError(
            f"Prompts of '{spec.name}' start with {', '.join(unknown)}, which its tokenizer does not have."
        )
    return [token for token in ids.values() if token is not None]


def _read_architecture(location: str) -> dict[str, object]:
    folder = Path(location)
    if folder.is_dir():
        file = folder / "config.json"
        if not file.is_file():
            raise InputError(f"The folder '{folder}' holds no model: config.json is missing.")
        return dict(json.loads(file.read_text(encoding="utf-8")))
    from huggingface_hub import hf_hub_download

    try:
        return dict(json.loads(Path(hf_hub_download(location, "config.json")).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise explain_failure(location, error) from error
