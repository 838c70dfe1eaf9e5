"""However a step is divided, in parts or among processes, it is the same step."""

from __future__ import annotations

import json
import os
import socket

import pytest
import torch
from accelerate.state import AcceleratorState

from msakit.core.errors import InputError, MsakitError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.runs.checkpoint import load_state
from msakit.runs.folder import Run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import tiny_pipeline
from tests.training import forked

SETTINGS = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "seed": 1}
LORA = {"name": "tiny", "adaptation": "lora"}


def training(registry, store, folder, **settings):
    """24 training samples: three steps of 8 an epoch, or two of 10 and one of 4."""
    content = tiny_pipeline(training={**SETTINGS, **settings}, backbone=LORA)
    resolved = resolve(parse_pipeline(content, "test"), registry)
    return lambda: train_run(TrainingPlan(resolved, store, folder), registry)


def together(function, count=2):
    """Run a function in several processes that train together; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def process(rank):
        def run():
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                "ACCELERATE_USE_CPU": "true",
            }  # fmt: skip
            AcceleratorState._reset_state(reset_partial_state=True)  # inherited from the parent's trainings
            function()

        return run

    return [forked.wait(child) for child in [forked.start(process(rank)) for rank in range(count)]]


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def assert_same_training(one, other, *, rtol=1e-4):
    """The same losses, metrics and weights, up to the order in which numbers are added."""
    records, others = history(one), history(other)
    assert [record.keys() for record in records] == [record.keys() for record in others]
    for first, second in zip(records, others, strict=True):
        for name, value in first.items():
            expected = pytest.approx(value, rel=rtol) if isinstance(value, float) else value
            assert second[name] == expected, name
    before, after = load_state(one), load_state(other)
    assert before["progress"]["samples"] == after["progress"]["samples"]
    for name, tensor in before["trainable"].items():
        assert torch.allclose(after["trainable"][name], tensor, rtol=0, atol=2e-5), name


@pytest.fixture(scope="module")
def alone(registry, store, tmp_path_factory):
    """Steps of 8 samples and steps of 10, each computed at once in one process."""
    folder = tmp_path_factory.mktemp("alone")
    for size in (8, 10):
        assert forked.run(training(registry, store, folder / str(size), batch_size=size)) == 0
    return folder


def test_two_processes_make_the_steps_of_one(registry, store, tmp_path, alone):
    """Ten samples a step leave four for the last, and twelve samples are validated."""
    folder = tmp_path / "run"
    assert together(training(registry, store, folder, batch_size=5)) == [0, 0]
    assert_same_training(alone / "10", folder)
    expected, actual = (Run(place).read_record() for place in (alone / "10", folder))
    assert actual.splits["test"] == pytest.approx(expected.splits["test"], rel=1e-4, nan_ok=True)
    assert actual.parameters == expected.parameters
    rows = [(place / "predictions.test.csv").read_text().splitlines() for place in (alone / "10", folder)]
    assert [row.split(",")[:2] for row in rows[0]] == [row.split(",")[:2] for row in rows[1]]
    assert {path.name for path in folder.iterdir()} == {path.name for path in (alone / "10").iterdir()}


def test_a_run_of_two_processes_is_not_continued_by_one(registry, store, tmp_path):
    assert together(training(registry, store, tmp_path / "run", epochs=1)) == [0, 0]
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(InputError, match="was trained by 2 processes, not 1"):
        training(registry, store, tmp_path / "run", epochs=1)()


@pytest.mark.parametrize(
    ("variable", "name"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_what_would_shard_the_backbone_is_refused(registry, store, tmp_path, monkeypatch, variable, name):
    """Accelerate would fall back on DDP on CPUs without a word."""
    monkeypatch.setenv(variable, "true")
    with pytest.raises(MsakitError, match=f"{name} is not supported") as refusal:
        training(registry, store, tmp_path / "run")()
    assert "docs/training.md" in (refusal.value.hint or "")
    assert not (tmp_path / "run").exists()


def test_a_refusal_reaches_every_process(registry, store, tmp_path, alone, capfd):
    assert together(training(registry, store, alone / "8", batch_size=8)) == [forked.FAILED] * 2
    assert capfd.readouterr().err.count("RunFinishedError: ") == 2


@pytest.mark.parametrize(
    "settings", [{"batch_size": 4, "gradient_accumulation": 2}, {"max_batch_tokens": 200}]
)
def test_a_step_in_parts_is_the_step_at_once(registry, store, tmp_path, alone, settings):
    assert forked.run(training(registry, store, tmp_path / "run", **settings)) == 0
    assert_same_training(alone / "8", tmp_path / "run")
