"""The cost of a training before it is begun: what is counted is what a training holds."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.samples.samples import Samples
from msakit.workflows.cost import Probe
from tests.conftest import tiny_pipeline


def make_probe(registry, store, **changes):
    resolved = resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)
    samples = Samples.open(store, resolved)
    pipeline = build_pipeline(resolved, registry, widths=samples.widths)
    return Probe(pipeline, samples, resolved), pipeline, samples


@pytest.mark.parametrize("adaptation", ["frozen", "lora"])
def test_weights_and_optimiser_are_the_tensors_a_training_holds(registry, store, adaptation):
    probe, pipeline, samples = make_probe(
        registry, store, backbone={"name": "tiny", "adaptation": adaptation}
    )
    trained = list(pipeline.trainable_parameters().values())
    optimizer = torch.optim.AdamW(trained)
    pipeline(samples.batch(probe.heaviest())).backward()
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    held = [*trained, *(p.grad for p in trained if p.grad is not None), *moments]
    memory = probe.memory()
    assert memory["trained"] == pytest.approx(sum(t.numel() * t.element_size() for t in held), rel=0.02)
    others = sum(p.numel() * p.element_size() for p in pipeline.parameters() if not p.requires_grad)
    assert memory["weights"] == others


@pytest.mark.parametrize("layout", ["paper", "late"])
def test_the_prefix_cache_is_what_preparing_takes(registry, store, layout):
    probe, pipeline, samples = make_probe(registry, store, prompt={"layout": layout})
    expected = probe.memory()["prefix_cache"]
    pipeline.backbone.prefix_cache.clear()
    pipeline.prepare(samples.words())
    assert pipeline.backbone.prefix_cache.num_bytes == expected > 0


def test_activations_of_few_samples_stand_for_all(registry, store):
    probe, _, _ = make_probe(registry, store)
    rows = probe.heaviest()
    assert len(rows) == 8
    assert probe.memory()["activations"] == pytest.approx(probe._kept_bytes(rows), rel=0.1)


def allocated_bytes(probe, samples, pipeline, rows):
    """The most that torch's allocator held at once in a step, and what it held before the backward pass."""
    batch = samples.batch(rows)
    pipeline.train()
    events = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[events], profile_memory=True) as profile:
        loss = pipeline(batch)
        with torch.profiler.record_function("backward"):
            loss.backward()
    now, most, before_backward = 0, 0, None
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "backward":
            before_backward = now
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most, before_backward


@pytest.mark.parametrize("adaptation", ["frozen", "lora"])
@pytest.mark.parametrize("layout", ["paper", "late"])
def test_the_estimate_is_what_the_allocator_holds(registry, store, layout, adaptation):
    """The probe counts what autograd asks to keep; the allocator counts what was taken and not freed."""
    probe, pipeline, samples = make_probe(
        registry,
        store,
        prompt={"layout": layout},
        backbone={"name": "tiny", "adaptation": adaptation},
    )
    memory, rows = probe.memory(), probe.heaviest()
    allocated_bytes(probe, samples, pipeline, rows)  # what is made on first use is made
    most, before_backward = allocated_bytes(probe, samples, pipeline, rows)
    assert probe._kept_bytes(rows) == pytest.approx(before_backward, rel=0.05)
    assert memory["activations"] + memory["logits"] == pytest.approx(most, rel=0.15)


def test_activations_grow_with_the_batch_and_weights_do_not(registry, store):
    few, many = (make_probe(registry, store, training={"batch_size": size})[0].memory() for size in (8, 24))
    assert 2.5 < many["activations"] / few["activations"] <= 3.2
    assert many["logits"] / few["logits"] == pytest.approx(3, rel=0.1)
    same = ("weights", "trained", "prefix_cache")
    assert [many[part] for part in same] == [few[part] for part in same]


@pytest.mark.parametrize(("adaptation", "share"), [("frozen", 1 / 3), ("lora", 2 / 3)])
def test_a_processor_s_allocator_is_allowed_for(registry, store, adaptation, share):
    probe, pipeline, _ = make_probe(registry, store, backbone={"name": "tiny", "adaptation": adaptation})
    memory = probe.memory()
    assert pipeline.device.type == "cpu"
    assert memory["gaps"] == pytest.approx(share * memory["activations"], abs=1)


def test_recomputed_activations_are_not_counted(registry, store):
    sizes = [
        make_probe(registry, store, backbone={"name": "tiny", "gradient_checkpointing": recompute})[0]
        for recompute in (True, False)
    ]
    recomputed, kept = (probe.memory()["activations"] for probe in sizes)
    assert recomputed < kept


def test_a_pipeline_without_anything_to_train_keeps_nothing(registry, store):
    probe, _, _ = make_probe(registry, store, encoders={}, fuser="none", injector="none")
    cost = probe.cost()
    assert (cost.trained, cost.activations, cost.logits, cost.epoch_s) == (0, 0, 0, 0.0)
    assert cost.validation_s > 0


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_the_command_sums_up(store, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tiny_pipeline()))
    found = json.loads(run("inspect", "memory", file, "--store", store, "--device", "cpu", "--json").stdout)
    parts = ("weights", "trained", "activations", "gaps", "logits", "prefix_cache")
    assert found["memory"] == sum(found[part] for part in parts)
    assert found["longest_s"] == pytest.approx(
        found["prepare_s"] + found["epochs"] * (found["epoch_s"] + found["validation_s"])
    )
    shown = run("inspect", "memory", file, "--store", store)
    assert "activations of the heaviest step (8 samples of up to" in shown.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]


def test_a_study_s_dry_run_sums_the_times_up(store, tmp_path):
    file = tmp_path / "study.yaml"
    study = {"pipeline": tiny_pipeline(), "grid": {"injector": ["pseudo2", "pseudo3"]}, "seeds": [1, 2]}
    file.write_text(yaml.safe_dump(study))
    common = ("sweep", file, "--store", store, "-o", tmp_path / "runs", "--dry-run")
    plain = json.loads(run(*common, "--json").stdout)
    assert plain["longest_s"] is None
    found = json.loads(run(*common, "--cost", "--json").stdout)
    assert found["longest_s"] == pytest.approx(sum(cell["longest_s"] for cell in found["runs"]))
    assert len(found["runs"]) == 4
    assert "minutes for all runs to do" in run(*common, "--cost").stderr


def test_the_cost_is_for_a_dry_run(store, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"pipeline": tiny_pipeline(), "systems": {"one": {}}}))
    result = run("sweep", file, "--store", store, "-o", tmp_path / "runs", "--cost")
    assert result.exit_code == 2
    assert "--cost is for the --dry-run" in result.stderr
