"""Answers by a head: what it computes, what it refuses, what training with it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from msakit.core.errors import ConfigError
from msakit.core.pipeline.answers import AnswerSet
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.readout import AnswerHead, HeadReadout
from msakit.core.pipeline.resolution import resolve
from msakit.samples.samples import Samples
from msakit.workflows.evaluate import evaluate_run
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import tiny_pipeline


class Backbone:
    """Gives the states it is made with, whatever the prompt."""

    def __init__(self, states):
        self.last_states = lambda prompt: states


def make_readout(answers, outputs, loss="huber"):
    """A readout whose head answers with `outputs` [B, O]."""
    head = AnswerHead(outputs.shape[1], outputs.shape[1], loss)
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(outputs.shape[1]))
        head.linear.bias.zero_()
    return HeadReadout(Backbone(outputs), answers, head)


SCORES = torch.tensor([[0.5], [-4.0], [2.5]])


def test_a_score_stays_within_the_label_range():
    reading = make_readout(AnswerSet.regression(-3, 3), SCORES).read(None)
    np.testing.assert_allclose(reading.values, [0.5, -3.0, 2.5])
    assert reading.probabilities is None


def test_huber_turns_linear_at_a_sixth_of_the_range():
    losses = make_readout(AnswerSet.regression(-3, 3), SCORES).losses(None, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(losses.values.detach(), [0.125, 4.5, 0.125])
    narrow = make_readout(AnswerSet.regression(-1, 1), SCORES[:1]).losses(None, [0.0])
    np.testing.assert_allclose(narrow.values.detach(), [(0.5 - 1 / 6) / 3], rtol=1e-6)


def test_l1_is_the_absolute_error():
    losses = make_readout(AnswerSet.regression(-3, 3), SCORES, "l1").losses(None, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(losses.values.detach(), [0.5, 5.0, 0.5])
    assert losses.counts == [1, 1, 1]


def test_classes_have_the_heads_softmax():
    outputs = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.5, 0.0]])
    readout = make_readout(AnswerSet.classification(["a", "b", "c"]), outputs)
    reading = readout.read(None)
    np.testing.assert_allclose(reading.probabilities, torch.softmax(outputs, -1), atol=1e-6)
    assert reading.values.tolist() == [1.0, 0.0]
    expected = functional.cross_entropy(outputs, torch.tensor([2, 0]), reduction="none")
    torch.testing.assert_close(readout.losses(None, [2.0, 0.0]).values, expected)


def test_the_head_scales_every_dimension_by_the_training_splits_states():
    head = AnswerHead(3, 1)
    states = torch.tensor([[20.0, 0.1, 5.0], [26.0, 0.3, 5.0]])
    head.scaler.fit(states.mean(0), states.std(0, unbiased=False))
    expected = torch.tensor([[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])
    torch.testing.assert_close(head(states), head.linear(expected))


def test_a_head_generates_no_text():
    with pytest.raises(ConfigError, match="decode: generate needs readout: tokens"):
        parse_pipeline(tiny_pipeline(answers={"readout": "head", "decode": "generate"}), "test")


@pytest.mark.parametrize(
    ("dataset", "training", "message"),
    [
        ("demo", {"class_weights": "balanced"}, "'demo' has scores, not classes"),
        ("demo", {"focal_gamma": 2.0}, "'demo' has scores, not classes"),
        ("meld", {"class_weights": {"joyful": 2.0}}, "class_weights.joyful: there is no such class"),
    ],
)
def test_weights_need_classes_that_there_are(registry, dataset, training, message):
    config = parse_pipeline(tiny_pipeline(dataset=dataset, training=training), "test")
    with pytest.raises(ConfigError, match=message):
        resolve(config, registry)


@pytest.mark.parametrize(
    ("dataset", "adaptation", "training"),
    [("demo", "frozen", {}), ("meld", "lora", {"class_weights": "balanced", "focal_gamma": 2.0})],
)
def test_a_head_learns_and_loads_to_the_same_predictions(
    registry, store, tmp_path, dataset, adaptation, training
):
    """The label follows an audio column, so voice and a head beat the best constant."""
    content = tiny_pipeline(
        dataset=dataset,
        answers={"readout": "head"},
        backbone={"name": "tiny", "adaptation": adaptation},
        prompt={"layout": "late"},
        training={
            "epochs": 45,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "seed": 1,
            "patience": 30,
            **training,
        },
    )
    resolved = resolve(parse_pipeline(content, "test"), registry)
    trained = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry)
    metrics = trained.run.read_json("metrics.json")
    if dataset == "demo":
        assert metrics["splits"]["test"]["mae"] < 0.7 * metrics["baselines"]["test"]["median"]["mae"]
    else:
        assert metrics["splits"]["test"]["weighted_f1"] > 0.9
    written = (tmp_path / "run" / "predictions.test.csv").read_bytes()
    loaded = load_run(tmp_path / "run", registry)
    evaluate_run(loaded, Samples.open(store, loaded.resolved), ["test"])
    assert (tmp_path / "run" / "predictions.test.csv").read_bytes() == written


def probing(registry, **changes):
    """A head behind a backbone, and nothing in between."""
    alone = {"encoders": {}, "fuser": "none", "injector": "none", "answers": {"readout": "head"}}
    return resolve(parse_pipeline(tiny_pipeline() | alone | changes, "test"), registry)


@pytest.mark.parametrize("layout", ["paper", "late"])
def test_where_only_a_head_is_trained_each_prompt_is_read_once(
    registry, store, tmp_path, monkeypatch, layout
):
    resolved = probing(registry, prompt={"layout": layout}, training={"epochs": 3, "batch_size": 4})
    samples = Samples.open(store, resolved)
    backbone = build_pipeline(resolved, registry, widths=samples.widths).backbone
    read, original = [], backbone.read
    monkeypatch.setattr(backbone, "read", lambda *rows: read.extend(rows[0]) or original(*rows))
    trained = train_run(TrainingPlan(resolved, store, tmp_path), registry, backbone=backbone)
    pipeline = trained.pipeline
    assert 0 < len(read) <= len(samples.words())

    batch = samples.batch(samples.rows("test"))
    prompt, _ = pipeline.assemble(batch)
    with torch.no_grad():
        expected = pipeline.adapter.head(backbone.last_states(prompt))[:, 0].double().numpy()
    low, high = pipeline.answers.values[0], pipeline.answers.values[-1]
    np.testing.assert_allclose(
        pipeline.predict(batch).values, np.clip(expected, low, high), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": {"name": "tiny", "adaptation": "lora"}},
        {"fuser": "concat", "injector": "pseudo2"},
        {"answers": {"readout": "tokens"}, "backbone": {"name": "tiny", "adaptation": "lora"}},
    ],
)
def test_states_that_training_changes_are_never_kept(registry, store, changes):
    resolved = probing(registry, **changes)
    pipeline = build_pipeline(resolved, registry, widths=Samples.open(store, resolved).widths)
    assert pipeline.known_states is None
