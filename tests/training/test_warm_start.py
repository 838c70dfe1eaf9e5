"""The warm start: the adapter learns without the language model, and only the adapter changes."""

from __future__ import annotations

import json

import pytest
import torch

from msakit.cli import watching
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.samples.samples import Samples
from msakit.training.warm_start import WarmStart
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import WIDTHS, tiny_pipeline

TRAINING = {"epochs": 1, "warm_start_epochs": 20, "batch_size": 8, "learning_rate": 1e-2, "seed": 1}


def prepare(registry, store, dataset):
    content = tiny_pipeline(dataset=dataset, fuser="concat", training=TRAINING)
    resolved = resolve(parse_pipeline(content, "test"), registry)
    torch.manual_seed(0)
    pipeline = build_pipeline(resolved, registry, widths=WIDTHS)
    return pipeline, Samples.open(store, resolved), resolved.config.training


@pytest.mark.parametrize("dataset", ["demo", "meld"])
def test_it_learns_scores_and_classes_without_the_language_model(registry, store, dataset, monkeypatch):
    pipeline, samples, settings = prepare(registry, store, dataset)
    monkeypatch.setattr(pipeline.backbone, "answer_losses", None)
    before = {name: p.clone() for name, p in pipeline.named_parameters()}
    records = list(WarmStart(pipeline, samples, settings).run())
    assert [record["epoch"] for record in records] == list(range(1, 21))
    assert min(record["valid_loss"] for record in records) < 0.6 * records[0]["loss"]
    changed = {name for name, p in pipeline.named_parameters() if not torch.equal(p, before[name])}
    assert changed
    assert all(name.startswith("adapter.") for name in changed)


def test_the_adapter_is_left_as_it_was_after_its_best_epoch(registry, store):
    pipeline, samples, settings = prepare(registry, store, "demo")
    warm, states, losses = WarmStart(pipeline, samples, settings), [], []
    for record in warm.run():
        states.append({name: p.clone() for name, p in pipeline.adapter.named_parameters()})
        losses.append(record["valid_loss"])
    best = states[losses.index(min(losses))]
    assert all(torch.equal(p, best[name]) for name, p in pipeline.adapter.named_parameters())


def test_a_run_records_and_tells_its_warm_start_and_resumes_without_another(
    registry, store, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(watching, "LINE_SECONDS", 0)
    resolved = resolve(parse_pipeline(tiny_pipeline(training=TRAINING), "test"), registry)
    for resume in (False, True):
        plan = TrainingPlan(resolved, store, tmp_path / "run", resume=resume)
        run = train_run(plan, registry, observers=[watching.ProgressLines("tgm", "mae")]).run
        splits = [json.loads(line)["split"] for line in run.history_file.read_text().splitlines()]
        assert splits.count("warm start") == 20
        told = capsys.readouterr().err
        assert told.count("tgm: warm start, epoch ") == (0 if resume else 20)


def test_a_pipeline_that_trains_lora_alone_has_no_warm_start(registry, store, tmp_path):
    changes = {
        "encoders": {},
        "fuser": "none",
        "injector": "none",
        "backbone": {"name": "tiny", "adaptation": "lora"},
        "training": TRAINING,
    }
    resolved = resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)
    run = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry).run
    assert "warm start" not in run.history_file.read_text()
