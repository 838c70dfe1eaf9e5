"""Run folders from strangers: nothing of them runs, and a few bytes take no memory."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from msakit.core.errors import ConfigError, InputError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import fill_store, tiny_pipeline


@pytest.fixture(scope="module")
def trained(tmp_path_factory, registry):
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("hostile")
    content = tiny_pipeline(training={"epochs": 1, "batch_size": 8})
    plan = TrainingPlan(
        resolve(parse_pipeline(content, "test"), registry), fill_store(folder / "store"), folder / "run"
    )
    train_run(plan, registry)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(trained, tmp_path / "run")


def change_pipeline(run, **changes):
    """Set dotted keys of the run's pipeline (a double underscore is a dot)."""
    file = run / "pipeline.yaml"
    content = yaml.safe_load(file.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = content
        for parent in parents:
            node = node[parent]
        node[last] = value
    file.write_text(yaml.safe_dump(content))


def adapter_of(run):
    return next(run.glob("adapter/step-*/adapter.safetensors"))


def test_an_untouched_copy_loads(run, registry):
    assert load_run(run, registry).pipeline.answers.texts


def test_a_run_cannot_trust_the_code_it_brings(run, registry, tmp_path):
    model = tmp_path / "evil" / "model"
    model.mkdir(parents=True)
    marker = tmp_path / "ran"
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    change_pipeline(run, backbone={"name": "tiny", "path": str(model), "trust_remote_code": [str(model)]})
    with pytest.raises(ConfigError, match="--trust-remote-code"):
        load_run(run, registry)
    for backbone in ({"name": "tiny", "path": str(model)}, {"name": str(model)}):
        change_pipeline(run, backbone=backbone)
        with pytest.raises(InputError, match="code of its own") as refused:
            load_run(run, registry)
        assert f"--trust-remote-code {model}" in refused.value.hint
    assert not marker.exists()


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"injector": {"name": "pseudo", "tokens": 2 * 10**9}}, "injector.tokens"),
        ({"injector": {"name": "repeat", "prefix_tokens": 10**9}}, "injector.prefix_tokens"),
        ({"encoders__audio__hidden_size": 10**7}, "encoders.audio.hidden_size"),
        ({"encoders__audio__hidden_size": 10**6}, "does not fit"),
        ({"encoders__audio__num_layers": 10**9}, "encoders.audio.num_layers"),
        ({"encoders__audio__output_size": 10**40}, "output_size"),
        ({"fuser": {"name": "tfn", "subnet_size": 10**6}}, "does not fit|refuse|overflow|tfn"),
        ({"dataset__label_range": [-1e8, 1e8]}, "label_range"),
        ({"dataset__label_range": [float("-inf"), float("inf")]}, "label_range"),
        (
            {
                "dataset": {
                    "name": "x",
                    "task": "classification",
                    "language": "en",
                    "metrics": "erc",
                    "labels": [str(index) for index in range(1_500)],
                    "prompts": {"task": "Mood:"},
                }
            },
            "labels",
        ),
        ({"training__seed": -1}, "training.seed"),
        ({"training__learning_rate": float("inf")}, "training.learning_rate"),
        ({"prompt__context": "x" * 5000}, "prompt.context"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_sizes_nobody_means_are_refused(run, registry, change, problem):
    change_pipeline(run, **change)
    with pytest.raises(InputError, match=problem) as refused:
        load_run(run, registry)
    assert len(str(refused.value)) < 3000


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize(
    ("name", "shape", "problem"),
    [
        ("scalers.audio.mean", (2_000_000_000, 0), "not one width"),
        ("scalers.audio.mean", (), "not one width"),
        ("scalers.audio.mean", (7,), "does not fit"),
        ("fuser.extra", (2_000_000_000, 0), "does not fit"),
    ],
)
def test_an_adapter_of_another_shape_is_named(run, registry, name, shape, problem):
    tensors = load_file(adapter_of(run))
    tensors[name] = torch.zeros(shape)
    save_file(tensors, adapter_of(run))
    with pytest.raises(InputError, match=problem):
        load_run(run, registry)


@pytest.mark.parametrize("content", [b"", b"\xff" * 16, b"\x03\0\0\0\0\0\0\0{}", b"\x80\x04N."])
def test_a_damaged_adapter_is_named(run, registry, content):
    adapter_of(run).write_bytes(content)
    with pytest.raises(InputError, match=r"adapter\.safetensors"):
        load_run(run, registry)
