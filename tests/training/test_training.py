"""Training: it learns, it resumes to the same numbers, and it keeps the best."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from msakit.core.errors import DataError, InputError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.feature_store import FeatureStore
from msakit.runs.folder import Run
from msakit.samples.order import shuffled_batches, sorted_batches
from msakit.samples.samples import Samples
from msakit.training.schedule import cosine_with_warmup
from msakit.workflows.evaluate import evaluate_run
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import fill_store, tiny_pipeline


def plan(registry, store, folder, *, resume=False, **changes):
    resolved = resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)
    return TrainingPlan(resolved, store, folder, resume=resume)


class StopAfter:
    """An observer that stops the process, as kill -9 would, after some epochs."""

    def __init__(self, epochs):
        self.left = epochs

    def on_prepare(self, *, done, total):
        pass

    def on_warm_start(self, *, done, total, loss):
        pass

    def on_start(self, *, num_steps, first_step):
        self.first_step = first_step

    def on_step(self, record):
        if self.left == 0:
            raise KeyboardInterrupt

    def on_epoch(self, record, *, is_best):
        self.left -= 1

    def on_end(self):
        pass


SETTINGS = {"epochs": 4, "batch_size": 8, "learning_rate": 3e-3, "seed": 1}


def test_the_loss_falls_and_the_run_explains_itself(registry, store, tmp_path):
    """The label follows the sign of an audio column, which a random backbone learns to say with LoRA."""
    changes = {
        "backbone": {"name": "tiny", "adaptation": "lora", "lora": {"targets": "linear"}},
        "encoders": {"audio": {"name": "bilstm", "hidden_size": 8, "output_size": 16}},
        "prompt": {"layout": "late", "text_states_scaling": "none"},  # as published: noise of a random
        "answers": {"continuation": "bare"},  # backbone is best left small
        "training": {**SETTINGS, "epochs": 25, "learning_rate": 1e-2, "patience": 25},
    }
    trained = train_run(plan(registry, store, tmp_path / "run", **changes), registry)
    run = trained.run
    losses = [json.loads(line) for line in run.history_file.read_text().splitlines()]
    losses = [record["loss"] for record in losses if record["split"] == "train"]
    assert len(losses) == 25 * 3
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3])
    metrics = run.read_json("metrics.json")
    assert metrics["splits"]["test"]["acc2_non0"] == 1.0
    assert metrics["splits"]["test"]["mae"] < metrics["baselines"]["test"]["median"]["mae"]
    assert metrics["parameters"]["trainable"] == sum(
        p.numel() for p in trained.pipeline.parameters() if p.requires_grad
    )
    provenance = run.read_json("provenance.json")
    assert provenance["backbone"] == {"device": "cpu", "dtype": "float32"}
    assert provenance["data"]["splits"] == {"train": 24, "valid": 12, "test": 12}
    assert provenance["versions"]["torch"] == torch.__version__
    header = (run.folder / "predictions.test.csv").read_text().splitlines()[0].split(",")
    assert header[:5] == ["id", "label", "prediction", "speaker", "p:-3.0"]
    assert "d:contribution[0]" in header


def test_a_killed_training_resumes_to_the_same_numbers(registry, store, tmp_path):
    straight = train_run(plan(registry, store, tmp_path / "straight", training=SETTINGS), registry)
    with pytest.raises(KeyboardInterrupt):
        train_run(
            plan(registry, store, tmp_path / "killed", training=SETTINGS), registry, observers=[StopAfter(2)]
        )
    watcher = StopAfter(9)
    resumed = train_run(
        plan(registry, store, tmp_path / "killed", training=SETTINGS, resume=True),
        registry,
        observers=[watcher],
    )
    assert watcher.first_step == 6
    history = [(t.run.folder / "history.jsonl").read_text() for t in (straight, resumed)]
    assert history[0] == history[1]
    expected, actual = load_file(straight.run.adapter_file), load_file(resumed.run.adapter_file)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_the_same_seed_gives_the_same_predictions_and_another_does_not(registry, store, tmp_path):
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_run(plan(registry, store, tmp_path / name, training={**SETTINGS, "seed": seed}), registry)
        texts.append((tmp_path / name / "predictions.test.csv").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_a_loaded_run_predicts_what_the_trained_one_did(registry, store, tmp_path):
    trained = train_run(plan(registry, store, tmp_path / "run"), registry)
    before = (tmp_path / "run" / "predictions.test.csv").read_text()
    loaded = load_run(tmp_path / "run", registry)
    report = evaluate_run(loaded, Samples.open(store, loaded.resolved), ["test"])
    assert (tmp_path / "run" / "predictions.test.csv").read_text() == before
    assert report.splits["test"]["mae"] == trained.run.read_json("metrics.json")["splits"]["test"]["mae"]


def test_lora_is_saved_in_pefts_format_and_loaded_again(registry, store, tmp_path):
    backbone = {"name": "tiny", "adaptation": "lora"}
    trained = train_run(plan(registry, store, tmp_path / "run", backbone=backbone), registry)
    assert (trained.run.adapter_folder / "lora" / "adapter_config.json").is_file()
    before = (tmp_path / "run" / "predictions.test.csv").read_text()
    loaded = load_run(tmp_path / "run", registry)
    evaluate_run(loaded, Samples.open(store, loaded.resolved), ["test"])
    assert (tmp_path / "run" / "predictions.test.csv").read_text() == before


def test_classification_predicts_class_names(registry, store, tmp_path):
    changes = {"dataset": {"name": "meld", "features": {"audio": 6, "vision": 4}}, "prompt": {"context": 2}}
    trained = train_run(plan(registry, store, tmp_path / "run", **changes), registry)
    rows = (tmp_path / "run" / "predictions.test.csv").read_text().splitlines()
    assert rows[0].split(",")[3:6] == ["dialogue", "speaker", "p:neutral"]
    assert rows[1].split(",")[1] in ("joy", "anger")
    assert set(trained.run.read_json("metrics.json")["baselines"]["test"]) == {"majority"}


def test_an_existing_run_is_not_overwritten(registry, store, tmp_path):
    train_run(plan(registry, store, tmp_path / "run"), registry)
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    with pytest.raises(InputError, match="already holds a run"):
        train_run(plan(registry, store, tmp_path / "run"), registry)
    with pytest.raises(InputError, match="another pipeline"):
        train_run(plan(registry, store, tmp_path / "run", injector="pseudo3", resume=True), registry)
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before


def test_a_text_only_prompt_to_a_frozen_backbone_is_evaluated_as_it_is(registry, store, tmp_path):
    """Its predictions are the plain backbone's, whatever the seed, and the run loads like any other."""
    nothing = {"fuser": "none", "injector": "none", "encoders": {}}
    first = train_run(plan(registry, store, tmp_path / "a", **nothing), registry)
    metrics = first.run.read_json("metrics.json")
    assert metrics["training"] == {"best_epoch": 0, "epochs": 0, "stopped": "nothing to train"}
    assert metrics["timing"]["samples_per_s"] is None
    assert metrics["parameters"]["trainable"] == 0
    other_seed = {"training": {**tiny_pipeline()["training"], "seed": 2}}
    train_run(plan(registry, store, tmp_path / "b", **nothing, **other_seed), registry)
    predictions = (tmp_path / "a" / "predictions.test.csv").read_bytes()
    assert (tmp_path / "b" / "predictions.test.csv").read_bytes() == predictions
    loaded = load_run(tmp_path / "a", registry)
    evaluate_run(loaded, Samples.open(store, loaded.resolved), ["test"])
    assert (tmp_path / "a" / "predictions.test.csv").read_bytes() == predictions


def test_a_store_without_the_dataset_or_modality_is_refused(registry, store, tmp_path):
    with pytest.raises(DataError, match=r"no dataset 'mosei'.*demo, meld"):
        train_run(plan(registry, store, tmp_path / "run", dataset="mosei"), registry)
    changes = {"dataset": {"name": "demo", "features": {"pulse": 3}}, "encoders": {"pulse": "lstm"}}
    with pytest.raises(DataError, match="no features for pulse"):
        train_run(plan(registry, store, tmp_path / "run", **changes), registry)
    assert not (tmp_path / "run").exists()


def test_another_feature_width_than_trained_on_is_refused(registry, store, tmp_path):
    train_run(plan(registry, store, tmp_path / "run"), registry)
    other = fill_store(tmp_path / "wide", widths={"audio": 9, "vision": 4})
    loaded = load_run(tmp_path / "run", registry)
    with pytest.raises(DataError, match="audio features of 'demo' are 9 wide, but the pipeline expects 6"):
        evaluate_run(loaded, Samples.open(other, loaded.resolved), ["test"])


def test_infinite_features_stop_training_before_it_begins(registry, tmp_path):
    store = fill_store(tmp_path / "bad", nonfinite=True)
    with pytest.raises(DataError, match=r"audio features of s005 hold NaN or infinity \(1 values in 1"):
        train_run(plan(registry, store, tmp_path / "run"), registry)
    assert not (tmp_path / "run").exists()
    trained = train_run(plan(registry, store, tmp_path / "run", features={"nonfinite": "zero"}), registry)
    assert np.isfinite(trained.run.read_json("metrics.json")["splits"]["test"]["mae"])


def rewrite(source, target, change):
    """A copy of a store whose table `demo` has other columns."""
    shutil.copytree(source, target)
    store = FeatureStore.open(target)
    store.write_table("demo", dataclasses.replace(store.table("demo"), **change(store.table("demo"))))
    return target


def test_an_empty_split_is_named_with_what_there_is(registry, store, tmp_path):
    no_valid = rewrite(
        store, tmp_path / "store", lambda t: {"split": tuple("train" if s == "valid" else s for s in t.split)}
    )
    with pytest.raises(DataError, match=r"split 'valid' of 'demo' is empty \(train 36, test 12\)"):
        train_run(plan(registry, no_valid, tmp_path / "run"), registry)


@pytest.mark.parametrize(
    ("label", "message"), [(4.0, "Sample 's003': Label 4"), (np.nan, "have no label: s003")]
)
def test_labels_without_an_answer_stop_training_before_it_begins(registry, store, tmp_path, label, message):
    def change(table):
        labels = table.label.copy()
        labels[3] = label
        return {"label": labels}

    wrong = rewrite(store, tmp_path / "store", change)
    with pytest.raises(DataError, match=message):
        train_run(plan(registry, wrong, tmp_path / "run"), registry)
    assert not (tmp_path / "run").exists()


def test_damaged_run_files_are_named(registry, store, tmp_path):
    train_run(plan(registry, store, tmp_path / "run"), registry)
    adapter = Run(tmp_path / "run").adapter_file
    adapter.write_bytes(adapter.read_bytes()[:100])
    with pytest.raises(InputError, match=r"adapter\.safetensors is damaged"):
        load_run(tmp_path / "run", registry)
    with pytest.raises(InputError, match="is not a run"):
        load_run(tmp_path, registry)


def test_batches_are_a_permutation_of_similar_lengths():
    rows, lengths = np.arange(100, 333), np.random.default_rng(0).integers(1, 50, 233)
    batches = shuffled_batches(rows, lengths, 8, seed=3, epoch=1)
    assert sorted(np.concatenate(batches)) == list(rows)
    spread = np.mean([np.ptp(lengths[batch - 100]) for batch in batches])
    assert spread < 5
    again = shuffled_batches(rows, lengths, 8, seed=3, epoch=1)
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))
    other = shuffled_batches(rows, lengths, 8, seed=3, epoch=2)
    assert not all(np.array_equal(one, two) for one, two in zip(batches, other, strict=True))
    longest_first = [lengths[batch - 100].max() for batch in sorted_batches(rows, lengths, 8)]
    assert longest_first == sorted(longest_first, reverse=True)


def test_the_learning_rate_stays_at_zero_past_the_horizon():
    factors = [cosine_with_warmup(step, warmup_steps=10, horizon_steps=100) for step in range(200)]
    assert factors[0] == 0
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert max(factors[100:]) == 0
