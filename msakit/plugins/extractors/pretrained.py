"""Pretrained models of the hub or of a folder: pinned, hashed, on the best device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from msakit.core.errors import InputError
from msakit.core.hub import TOKENIZER_FILES, fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Layer = int | str
GPU_BATCH = 16
MASKING = ("masked_spec_embed",)
"""Weights that speech models use while they are trained."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's folder, its commit (None for a folder of the user's), SHA-256 of its weight files."""

    folder: Path
    revision: str | None
    weights: tuple[str, ...]


def find_checkpoint(model: str, revision: str | None) -> Checkpoint:
    """The checkpoint of a folder, or of a repository of the hub, fetched if it is not here.

    Without a revision the hub's newest is taken, and the commit it turned out to be is returned, so that what
    is recorded names the same weights for ever.

    Raises:
        InputError: It is neither a folder nor the name of a repository.
        MsakitError: It is not here and the hub cannot be reached.
    """
    if Path(model).is_dir():
        return Checkpoint(Path(model), None, hash_weights(Path(model)))
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise InputError(
            f"'{model}' is neither a folder nor the name of a model on the hub.",
            hint="Names on the hub have the form ORGANISATION/NAME.",
        )
    folder = fetch(model, revision, TOKENIZER_FILES)
    commit = folder.name if folder.parent.name == "snapshots" else revision
    return Checkpoint(folder, commit, hash_weights(folder))


def hash_weights(folder: Path) -> tuple[str, ...]:
    """SHA-256 of each weight file, by file name: of the safetensors, else of the .bin files."""
    found = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    digests = []
    for path in found:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return tuple(digests)


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def batch_size_on(device: torch.device) -> int:
    """Inputs computed at once: many on a GPU; one on a CPU, where a batch saves nothing."""
    return 1 if device.type == "cpu" else GPU_BATCH


def check_layer(layer: Layer, num_layers: int) -> None:
    """Refuse a layer that a model of `num_layers` layers does not have.

    Raises:
        InputError: It has no such layer.
    """
    if layer != "mean" and not -num_layers - 1 <= int(layer) <= num_layers:
        raise InputError(
            f"layer {layer} does not exist: the model has the layers 0 (embeddings) to {num_layers}.",
            hint="Negative numbers count from the last; 'mean' is the mean of all.",
        )


def choose_layer(states: Sequence[Tensor], layer: Layer) -> Tensor:
    """One of a model's hidden states [B, T, D] (the embeddings first, the output last), or their mean."""
    return torch.stack(tuple(states)).mean(dim=0) if layer == "mean" else states[int(layer)]


def mean_rows(values: Tensor, per_row: int) -> Tensor:
    """Rows [T, D] as means of `per_row` neighbours; the last may be of fewer."""
    if per_row == 1:
        return values
    return torch.stack([part.mean(dim=0) for part in torch.split(values, per_row)])


def library_versions() -> dict[str, Any]:
    """The libraries that a pretrained model's numbers depend on."""
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__}


def load_whole(auto: Any, folder: Path, unused: tuple[str, ...] = ()) -> Any:
    """A model of transformers in float32, ready to be used, without any of the repository's code.

    Args:
        auto: The class that loads it, such as AutoModel.
        folder: The checkpoint.
        unused: Beginnings of the names of weights that nothing asked for depends on.

    Raises:
        InputError: transformers cannot load it, or the checkpoint lacks weights that decide the numbers.
    """
    try:
        model, found = auto.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{folder}: transformers cannot load this model: {reason}") from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(unused))
    if missing:
        raise InputError(
            f"{folder}: the checkpoint lacks {len(missing)} of the model's weights, {missing[0]} among them.",
            hint="They would be random numbers. Is it the checkpoint of a whole model?",
        )
    return model.eval().requires_grad_(False)
