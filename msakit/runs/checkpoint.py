"""Checkpoints: everything a training saves takes effect by replacing one small file.

checkpoint.json                    names the files that belong together
checkpoint/step-000120.pt          where the training stands
adapter/step-000100/               the best weights so far: adapter.safetensors, and lora/ in peft's format

A kill at any moment leaves the checkpoint before or the one after. What no checkpoint names is removed
when the next one is committed.
"""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from msakit.core.atomic import sync, write_atomically, write_text_atomically, writing_errors
from msakit.core.errors import InputError, MsakitError
from msakit.core.files import read_json, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from msakit.core.pipeline.pipeline import Pipeline

COMMIT_FILE = "checkpoint.json"
STATES, WEIGHTS = "checkpoint", "adapter"
ADAPTER_FILE, LORA_FOLDER = "adapter.safetensors", "lora"
_MAX_COMMIT_BYTES = 1 << 16
ADAPTER_METADATA = {"format": "msakit.adapter", "version": "1"}


@dataclass(frozen=True, slots=True)
class Commit:
    """The files that belong together; paths are relative to the run directory.

    Attributes:
        step: Optimiser steps that were made.
        weights: Folder of the best weights so far; "" before the first validation.
        state: File to go on from; "" where nothing is left to go on with.
        history_bytes: Length of history.jsonl at that moment.
    """

    step: int = 0
    weights: str = ""
    state: str = ""
    history_bytes: int = 0


def read_commit(folder: Path) -> Commit:
    """The checkpoint in force; an empty one where nothing was saved yet.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / COMMIT_FILE
    if not os.path.lexists(path):
        return Commit()
    content = read_json(path, limit=_MAX_COMMIT_BYTES)
    try:
        commit = Commit(**{name: kind(content[name]) for name, kind in _FIELDS.items()})
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"{path} is damaged: {error}", hint="Train the run again in another folder."
        ) from error
    outside = [part for part in (commit.weights, commit.state) if ".." in part or part.startswith("/")]
    if outside:
        raise InputError(f"{path} names a file outside the run: {outside[0]}.")
    return commit


_FIELDS: dict[str, Any] = {"step": int, "weights": str, "state": str, "history_bytes": int}


def commit(folder: Path, step: int, state: dict[str, Any] | None, best: Pipeline | None) -> None:
    """Save where a training stands, and the pipeline's weights if they are the best so far.

    Raises:
        MsakitError: The disk is full, or the system refuses; the checkpoint before stays in force.
    """
    weights = read_commit(folder).weights if best is None else _save_weights(folder, step, best)
    state_file = "" if state is None else _save_state(folder, step, state)
    made = Commit(step, weights, state_file, _history_bytes(folder))
    write_text_atomically(folder / COMMIT_FILE, to_json(asdict(made)) + "\n")
    _remove_all_but(folder / WEIGHTS, made.weights)
    _remove_all_but(folder / STATES, made.state)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Where the training stood at the last checkpoint, or None.

    Raises:
        InputError: The file is damaged.
    """
    import torch

    name = read_commit(folder).state
    if not name:
        return None
    if not (folder / name).is_file():
        raise InputError(
            f"{folder / name} is missing, or no file.", hint="Restore it, or train in another folder."
        )
    try:
        state: dict[str, Any] = torch.load(folder / name, weights_only=True)
    except Exception as error:
        raise InputError(f"{folder / name} is damaged: {error}") from error
    return state


def _save_state(folder: Path, step: int, state: dict[str, Any]) -> str:
    import torch

    content = io.BytesIO()
    torch.save(state, content)
    name = f"{STATES}/step-{step:06d}.pt"
    with writing_errors(folder / name):
        (folder / STATES).mkdir(exist_ok=True)
    write_atomically(folder / name, lambda path: path.write_bytes(content.getbuffer()))
    return name


def _save_weights(folder: Path, step: int, pipeline: Pipeline) -> str:
    """Write a folder of weights that nothing refers to yet."""
    from safetensors import SafetensorError
    from safetensors.torch import save

    name = f"{WEIGHTS}/step-{step:06d}"
    target = folder / name
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in pipeline.adapter_state().items()}
    try:
        with writing_errors(target):
            shutil.rmtree(target, ignore_errors=True)  # of a training that was killed before it committed
            target.mkdir(parents=True)
            (target / ADAPTER_FILE).write_bytes(save(state, ADAPTER_METADATA))
            pipeline.backbone.save_adaptation(target / LORA_FOLDER)
            for path in (*target.rglob("*"), target, target.parent):
                sync(path)
    except (MsakitError, SafetensorError) as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, SafetensorError):
            raise MsakitError(f"{target} cannot be written: {error}") from error
        raise
    return name


def _history_bytes(folder: Path) -> int:
    path = folder / "history.jsonl"
    if not path.is_file():
        return 0
    sync(path)
    return path.stat().st_size


def _remove_all_but(folder: Path, kept: str) -> None:
    for path in folder.glob("*"):
        if path.name != kept.rpartition("/")[2]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
