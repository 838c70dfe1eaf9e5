"""Repositories of the Hugging Face hub as local folders.

What was fetched before is used without asking the hub again, so a run needs the network once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from msakit.core.errors import InputError, MsakitError
from msakit.core.files import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKENIZER_FILES = ("*.json", "*.model", "*.txt", "*.jinja")
_BY_FOLDER = (
    "copy the repository's files here by other means and give their folder: a backbone's `path`, an "
    "extractor's `model`"
)
# What the hub's client raises without a network is an error of its HTTP library, which varies.
_HUB_ERRORS: tuple[Any, ...] = (OSError, ValueError, HfHubHTTPError.__bases__[0])
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
    try:
        known = try_to_load_from_cache(repository, "config.json", revision=revision)
        if isinstance(known, str):
            return Path(known)
        return Path(hf_hub_download(repository, "config.json", revision=revision))
    except (OSError, ValueError) as error:
        raise _unreachable(repository, error) from error


def fetch_files(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """A folder with those files of a repository that match; the newest, or without a network those here.

    Raises:
        MsakitError: They are not here and cannot be fetched.
    """
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except _HUB_ERRORS as error:
        raise _unreachable(repository, error, "copy its folder here and give the path") from error


def upload_folder(folder: Path, repository: str, *, private: bool) -> str:
    """Put a folder's files into a repository, which is made where there is none; its address.

    Raises:
        MsakitError: The hub cannot be reached, or refuses.
    """
    hub = HfApi()
    try:
        made = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Upload with msakit")
    except _HUB_ERRORS as error:
        raise MsakitError(
            f"'{repository}' could not be uploaded to the Hugging Face hub: {_first_line(error)}",
            hint="Check the name and the network, and log in with `hf auth login` (a token that may write).",
        ) from error
    return str(made.url)


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


def _unreachable(repository: str, error: Exception, otherwise: str = _BY_FOLDER) -> MsakitError:
    if isinstance(error, HFValidationError):
        return InputError(
            f"'{repository}' is no repository of the hub.", hint=f"Write ORG/NAME. Or {otherwise}."
        )
    return MsakitError(
        f"'{repository}' is not on this computer and could not be fetched from the Hugging Face hub: "
        f"{_first_line(error)}",
        hint="Check the name and the network; log in with `hf auth login` for a gated or private repository. "
        f"Or {otherwise}.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
