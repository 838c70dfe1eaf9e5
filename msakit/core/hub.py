"""Repositories of the Hugging Face hub as local folders.

What was fetched before is used without asking the hub again, so a run needs the network once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache

from msakit.core.errors import InputError, MsakitError
from msakit.core.files import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKENIZER_FILES = ("*.json", "*.model", "*.txt", "*.jinja")
_WEIGHTS = (("*.safetensors", "model.safetensors.index.json"), ("*.bin", "pytorch_model.bin.index.json"))


def fetch(repository: str, revision: str | None, files: Sequence[str]) -> Path:
    """A folder with a repository's weights (safetensors, else .bin), configuration and given files.

    Raises:
        MsakitError: They are not here and cannot be fetched.
    """
    wanted = ["config.json", *files]
    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
        if holds_weights(folder):
            return folder
    except (OSError, ValueError):
        pass  # nothing of it is here yet
    try:
        for patterns in _WEIGHTS:
            found = snapshot_download(repository, revision=revision, allow_patterns=[*wanted, *patterns])
            if holds_weights(Path(found)):
                return Path(found)
    except (OSError, ValueError) as error:
        raise _unreachable(repository, error) from error
    raise MsakitError(f"The repository '{repository}' holds no weights: neither .safetensors nor .bin files.")


def fetch_config(repository: str, revision: str | None = None) -> Path:
    """A repository's config.json.

    Raises:
        MsakitError: It is not here and cannot be fetched.
    """
    known = try_to_load_from_cache(repository, "config.json", revision=revision)
    if isinstance(known, str):
        return Path(known)
    try:
        return Path(hf_hub_download(repository, "config.json", revision=revision))
    except (OSError, ValueError) as error:
        raise _unreachable(repository, error) from error


def holds_weights(folder: Path) -> bool:
    """Whether a folder has a configuration and all files of its weights."""
    if not (folder / "config.json").is_file():
        return False
    for pattern, index in _WEIGHTS:
        if (folder / index).is_file():
            if all(file.is_file() for file in _shards(folder / index)):
                return True
        elif next(folder.glob(pattern), None):
            return True
    return False


def weights_size(folder: Path) -> int:
    """Bytes of a folder's weights files."""
    return sum(file.stat().st_size for pattern, _ in _WEIGHTS for file in folder.glob(pattern))


def _shards(index: Path) -> list[Path]:
    """The files an index names, which lie beside it.

    Raises:
        InputError: It is no index, or names files elsewhere.
    """
    shards = read_json(index).get("weight_map")
    names = set(map(str, shards.values())) if isinstance(shards, dict) else set()
    if not names or any(Path(name).name != name for name in names):
        raise InputError(f"{index} is not an index of weights files in its folder.")
    return [index.parent / name for name in names]


def _unreachable(repository: str, error: Exception) -> MsakitError:
    reason = str(error).strip().partition("\n")[0]
    return MsakitError(
        f"'{repository}' is not on this computer and could not be fetched: {reason}",
        hint="Check the name and the network; log in with `hf auth login` for a gated repository. Or copy "
        "the repository's files here by other means and give their folder: a backbone's `path`, "
        "an extractor's `model`.",
    )
