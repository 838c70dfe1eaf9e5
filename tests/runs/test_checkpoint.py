"""A checkpoint is the one before or the one after, whenever the process that writes it is killed."""

from __future__ import annotations

import errno
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from msakit.core.errors import InputError, MsakitError
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.runs.checkpoint import Commit, commit, load_state, read_commit
from tests.conftest import WIDTHS, tiny_pipeline
from tests.training import forked


@pytest.fixture(scope="module")
def pipeline(registry):
    """A pipeline with LoRA, every trained tensor of it filled with ones."""
    content = tiny_pipeline(backbone={"name": "tiny", "adaptation": "lora"})
    built = build_pipeline(resolve(parse_pipeline(content, "test"), registry), registry, widths=WIDTHS)
    fill(built, 1.0)
    return built


def fill(pipeline, value):
    with torch.no_grad():
        for parameter in pipeline.trainable_parameters().values():
            parameter.fill_(value)


def saved_values(folder):
    """The values the trained tensors in force are filled with; one, if they belong together."""
    weights = folder / read_commit(folder).weights
    tensors = {**load_file(weights / "adapter.safetensors")}
    tensors = {name: tensor for name, tensor in tensors.items() if "scaler" not in name}
    lora = load_file(weights / "lora" / "adapter_model.safetensors")
    assert tensors
    assert lora
    return {float(value) for tensor in (*tensors.values(), *lora.values()) for value in tensor.unique()}


def test_killed_at_any_operation_adapter_lora_and_state_belong_together(pipeline, tmp_path):
    (tmp_path / "first").mkdir()
    commit(tmp_path / "first", 1, {"value": 1.0}, pipeline)

    def save_again(folder):
        fill(pipeline, 2.0)
        commit(folder, 2, {"value": 2.0}, pipeline)

    seen, operation, code = [], 0, None
    while code != 0:
        operation += 1
        folder = tmp_path / str(operation)
        shutil.copytree(tmp_path / "first", folder)
        code = forked.run(forked.killed_at_operation(lambda folder=folder: save_again(folder), operation))
        assert code in (0, -signal.SIGKILL)
        [value] = saved_values(folder)
        assert load_state(folder) == {"value": value}
        assert read_commit(folder).step == value
        seen.append(value)
        if operation % 6:
            continue
        commit(folder, 3, None, None)  # the next one cleans up
        kept = {path.name for path in folder.rglob("*") if path.is_file()}
        assert kept == {
            "checkpoint.json", "adapter.safetensors", "adapter_model.safetensors", "adapter_config.json",
            "README.md",
        }  # fmt: skip
    assert operation > 15
    assert seen == sorted(seen)
    assert {seen[0], seen[-1]} == {1.0, 2.0}


def test_a_full_disk_leaves_the_checkpoint_before(pipeline, tmp_path, monkeypatch):
    commit(tmp_path, 1, {"value": 1.0}, pipeline)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline.backbone, "save_adaptation", full)
    with pytest.raises(MsakitError, match=r"step-000002 cannot be written: No space left on device"):
        commit(tmp_path, 2, {"value": 2.0}, pipeline)
    assert saved_values(tmp_path) == {1.0}
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["step-000001"]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        '{"a":' * 100_000,
        " " * 100_000,
        '{"step": 1e999, "weights": "", "state": "", "history_bytes": 0}',
        '{"step": 1, "weights": "../x", "state": "", "history_bytes": 0}',
    ],
    ids=lambda content: content[:20],
)
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    assert read_commit(tmp_path) == Commit()
    (tmp_path / "checkpoint.json").write_text(content)
    with pytest.raises(InputError, match=r"checkpoint\.json"):
        read_commit(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_what_is_no_file_is_no_checkpoint(tmp_path, kind):
    path = tmp_path / "checkpoint.json"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(path if kind == "loop" else "/dev/zero")
    with pytest.raises(InputError, match=r"checkpoint\.json"):
        read_commit(tmp_path)


def test_a_state_that_is_a_pipe_is_refused(tmp_path):
    (tmp_path / "checkpoint.json").write_text(
        '{"step": 1, "weights": "", "state": "checkpoint/step-000001.pt", "history_bytes": 0}'
    )
    (tmp_path / "checkpoint").mkdir()
    os.mkfifo(tmp_path / "checkpoint" / "step-000001.pt")
    with pytest.raises(InputError, match=r"step-000001\.pt is missing, or no file"):
        load_state(tmp_path)
