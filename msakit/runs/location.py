"""Where a run is: a folder here, or a repository of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from msakit.core.errors import InputError
from msakit.runs.checkpoint import WEIGHTS

SHARED_FILES = ("README.md", "pipeline.yaml", "features.json", "metrics.json", "provenance.json")
SHARED_WEIGHTS = (".safetensors", ".json")
"""Endings of what is shared of the weights: tensors, and how peft reads them. Nothing pickled."""

_PREFIX = "hf:"
_REPOSITORY = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)


def locate_run(run: str | Path) -> Path:
    """The folder of a run: a path here, else ORG/NAME or ORG/NAME@REVISION of the hub, fetched.

    Where the first part of a name is a folder here, the hub is not asked: a typing error in `runs/first`
    must not fetch a stranger's run. `hf:ORG/NAME` always means the hub.

    Raises:
        InputError: It is neither.
        MsakitError: It is not in the hub's cache and cannot be fetched.
    """
    name, path = str(run), Path(run).expanduser()
    if path.exists():
        return path
    is_below_a_folder = len(path.parts) > 1 and Path(path.parts[0]).exists()
    if is_below_a_folder or not _REPOSITORY.fullmatch(name.removeprefix(_PREFIX)):
        hint = "Give the folder of a run, or a repository of the Hugging Face hub as hf:ORG/NAME."
        raise InputError(f"There is no run '{name}' here.", hint=hint)
    return fetch_run(name)


def fetch_run(repository: str) -> Path:
    """The folder in the hub's cache with a shared run's files; nothing else of the repository is fetched.

    Raises:
        InputError: It is not written as a repository is.
        MsakitError: The files are not here and cannot be fetched.
    """
    from msakit.core.hub import fetch_files  # the hub's client takes long to import

    weights = [f"{WEIGHTS}/*{ending}" for ending in SHARED_WEIGHTS]
    return fetch_files(*parse_repository(repository), [*SHARED_FILES, *weights])


def parse_repository(name: str) -> tuple[str, str | None]:
    """Repository and revision of ORG/NAME, hf:ORG/NAME or ORG/NAME@REVISION.

    Raises:
        InputError: It is none of these.
    """
    found = _REPOSITORY.fullmatch(name.removeprefix(_PREFIX))
    if found is None:
        raise InputError(f"'{name}' is no repository of the hub.", hint="Write ORG/NAME.")
    return found["name"], found["revision"]
