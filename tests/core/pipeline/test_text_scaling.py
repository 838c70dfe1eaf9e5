"""Text states are scaled by the training split's statistics, and exactly so after loading."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.pipeline.text_states import TextStates
from msakit.samples.samples import Samples
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import WIDTHS, tiny_pipeline

KINDS = ["embeddings", "contextual", "answer"]


def build(registry, **prompt):
    config = parse_pipeline(tiny_pipeline(prompt={"layout": "late", **prompt}), "test")
    return build_pipeline(resolve(config, registry), registry, widths=WIDTHS)


def training_states(pipeline, samples, kind):
    """Every state of every training sample, one row each, float64; computed sample by sample."""
    rows, backbone = [], deepcopy(pipeline.backbone)  # a copy has no states yet
    for row in samples.rows("train"):
        states = TextStates(backbone, kind)(pipeline.prompts.build([samples.table.text[row]]))
        rows.append(states.values[0, : int(states.lengths[0])].double().numpy())
    return np.concatenate(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_the_training_split(registry, store, tmp_path, kind):
    changes = {"prompt": {"layout": "late", "text_states": kind}}
    resolved = resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)
    trained = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry)
    states = training_states(trained.pipeline, Samples.open(store, resolved), kind)
    scaler = trained.pipeline.adapter.text_scaler
    np.testing.assert_allclose(scaler.mean.numpy(), states.mean(0), atol=1e-5)
    np.testing.assert_allclose(scaler.deviation.numpy(), states.std(0), rtol=1e-4, atol=1e-5)

    again = load_run(tmp_path / "run", registry).pipeline
    for name, tensor in trained.pipeline.adapter_state().items():
        assert torch.equal(again.adapter_state()[name], tensor), name


def test_the_fuser_is_given_scaled_states(registry, store):
    pipeline = build(registry, text_states="contextual")
    samples = Samples.open(store, resolve(parse_pipeline(tiny_pipeline(), "test"), registry))
    pipeline.fit_text_scaling([samples.words(samples.rows("train"))])
    seen = []
    pipeline.adapter.fuser.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch = samples.batch(samples.rows("valid"))
    ids, _ = pipeline.inject(batch)
    plain = TextStates(pipeline.backbone, "contextual")(ids)
    states = training_states(pipeline, samples, "contextual")
    expected = (plain.values.double().numpy() - states.mean(0)) / states.std(0)
    expected[~plain.mask.numpy()] = 0
    np.testing.assert_allclose(seen[0].values.numpy(), expected, atol=1e-3)


def test_none_leaves_them_as_the_backbone_gives_them(registry):
    adapter = build(registry, text_states_scaling="none").adapter
    assert adapter.text_scaler is None
    assert not [name for name in adapter.state_dict() if name.startswith("text_scaler")]


def test_an_answer_state_is_where_the_backbone_is_about_to_answer(registry):
    """One vector a sample: the last state of the whole prompt; length 0 where the text is left out."""
    pipeline = build(registry, text_states="answer")
    ids = pipeline.prompts.build(["a wonderful film", None, "dull"])
    states = TextStates(pipeline.backbone, "answer")(ids)
    assert states.lengths.tolist() == [1, 0, 1]
    model = pipeline.backbone.language_model
    for index in (0, 2):
        row = torch.tensor([[*ids.before[index], *ids.after[index]]])
        with torch.no_grad():
            expected = model(row, output_hidden_states=True).hidden_states[-1][0, -1]
        torch.testing.assert_close(states.values[index, 0], expected, atol=1e-5, rtol=1e-5)


def test_pipelines_of_one_backbone_compute_answer_states_once(registry, store, monkeypatch):
    samples = Samples.open(store, resolve(parse_pipeline(tiny_pipeline(), "test"), registry))
    first, second = (build(registry, text_states="answer") for _ in range(2))
    read = []
    original = type(first.backbone).read
    monkeypatch.setattr(type(first.backbone), "read", lambda *rows: read.append(rows[0]) or original(*rows))
    everything = samples.words()
    for backbone in (first.backbone, first.backbone, second.backbone):
        TextStates(backbone, "answer").prepare(first.prompt_ids(everything))
    assert [backbone is first.backbone for backbone in read] == [True, False]


def test_a_pipeline_without_pseudo_tokens_reads_no_text_states(registry, store, monkeypatch):
    content = tiny_pipeline() | {"encoders": {}, "fuser": "none", "injector": "none"}
    content["prompt"] = {"text_states": "answer"}
    resolved = resolve(parse_pipeline(content, "test"), registry)
    samples = Samples.open(store, resolved)
    pipeline = build_pipeline(resolved, registry, widths=samples.widths)
    monkeypatch.setattr(type(pipeline.backbone), "read", lambda *_: pytest.fail("nothing looks at them"))
    pipeline.prepare(samples.words())
    pipeline(samples.batch(samples.rows("train")[:2]))
