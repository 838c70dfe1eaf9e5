"""A run made ready for others: it loads, answers as before, and gives nothing away."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import peft
import pytest
import torch
import yaml

import msakit
from msakit.core.errors import ConfigError, InputError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.plugins.backbones.config import CausalLMConfig
from msakit.plugins.backbones.loading import load
from msakit.workflows.load import load_run
from msakit.workflows.share import Sharing, share_run
from msakit.workflows.train import TrainingPlan, train_run
from msakit.workflows.verify import verify
from tests.conftest import TEXTS, fill_store, tiny_pipeline

LORA = {"name": "tiny", "adaptation": "lora"}
FILES = {"README.md", "pipeline.yaml", "features.json", "metrics.json", "provenance.json"}
FILES |= {f"adapter/{name}" for name in ("adapter.safetensors", "lora/adapter_config.json")}
FILES |= {"adapter/lora/adapter_model.safetensors"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, registry):
    """A run with LoRA, of a study of two systems."""
    folder = tmp_path_factory.mktemp("owner")
    pipeline = tiny_pipeline(training={"epochs": 1, "batch_size": 8, "learning_rate": 0.05}, backbone=LORA)
    resolved = resolve(parse_pipeline(pipeline, "test"), registry)
    place = folder / "study" / "tgm" / "seed-1"
    train_run(TrainingPlan(resolved, fill_store(folder / "store"), place), registry)
    other = Path(shutil.copytree(place, folder / "study" / "always zero" / "seed-1"))
    file = other / "predictions.test.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(row | {"prediction": "0"} for row in rows)
    return place


@pytest.fixture(scope="module")
def shared(trained, registry, tmp_path_factory):
    target = tmp_path_factory.mktemp("world") / "shared"
    return share_run(trained, target, registry, Sharing("my-lab/tgm"))


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_shared_answers_as_the_run_does(trained, shared):
    assert files_of(shared) == FILES
    texts = list(TEXTS)
    ours, theirs = (msakit.load(folder).predict(text=texts) for folder in (trained, shared))
    assert ours == theirs


def test_nothing_personal_is_shared(trained, shared):
    with (trained / "predictions.test.csv").open(newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    private = [str(trained.parents[2]), str(Path.home()), *ids, *TEXTS[:1], *TEXTS[2:]]
    for name in FILES:
        content = (shared / name).read_bytes().decode("utf-8", "replace")
        assert [word for word in private if word in content] == [], name
    provenance = json.loads((shared / "provenance.json").read_text())
    assert provenance.keys() == {"created", "seed", "data", "plugins", "backbone", "versions"}
    assert "store" not in provenance["data"]


def test_the_card_says_what_the_run_knows(trained, shared):
    card = (shared / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    with (trained / "predictions.test.csv").open(newline="") as file:
        errors = [abs(float(row["label"]) - float(row["prediction"])) for row in csv.DictReader(file)]
    error = sum(errors) / len(errors)
    [result] = front["model-index"][0]["results"]
    assert (front["library_name"], front["language"], result["dataset"]["split"]) == ("msakit", "en", "test")
    assert {m["type"]: m["value"] for m in result["metrics"]}["mae"] == pytest.approx(error, abs=1e-6)
    found = re.search(r"^\| MAE \| (\S+) \| \[(\S+), (\S+)\] \| (\S+) \|", card, re.MULTILINE)
    assert found is not None
    value, low, high, constant = map(float, found.groups())
    assert value == pytest.approx(error, abs=1e-4)
    assert min(errors) <= low < value < high <= max(errors)
    assert constant == json.loads((trained / "metrics.json").read_text())["baselines"]["test"]["mean"]["mae"]
    for line in (
        "msakit 0.1.0 (required) | `mse_adapter.lstm@1`, `mse_adapter.tgm@1`",
        "| backbone tiny | Apache-2.0 |",
        "| corpus demo | Texts and ratings MIT",
        "24 train, 12 valid, 12 test",
        'subfolder="adapter/lora"',
        "a synthetic voice and a drawn face",
        "msakit predict my-lab/tgm --store",
    ):
        assert line in card


def test_the_card_shows_a_studys_other_systems(trained, registry, tmp_path):
    study = trained.parents[1]
    card = (share_run(trained, tmp_path / "s", registry, Sharing(study=study)) / "README.md").read_text()
    [line] = [line for line in card.splitlines() if line.startswith("| always zero |")]
    with (trained / "predictions.test.csv").open(newline="") as file:
        labels = [abs(float(row["label"])) for row in csv.DictReader(file)]
    assert float(line.split("|")[2]) == pytest.approx(sum(labels) / len(labels), abs=1e-4)


def test_shared_lora_loads_with_peft_alone(trained, shared, registry):
    ids = torch.tensor([[256, *b"some text"]])
    tuned = load_run(trained, registry).pipeline.backbone.language_model
    plain = load(registry.backbone("tiny"), CausalLMConfig(device="cpu")).language_model
    before = plain(ids).logits
    other = peft.PeftModel.from_pretrained(plain, shared, subfolder="adapter/lora")
    with torch.no_grad():
        assert torch.equal(other(ids).logits, tuned(ids).logits)
    assert not torch.equal(before, tuned(ids).logits)


def test_a_folder_of_this_computer_needs_a_public_name(trained, registry, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    pipeline = yaml.safe_load((run / "pipeline.yaml").read_text())
    pipeline["backbone"]["path"] = "/models/qwen"
    (run / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    features = json.loads((run / "features.json").read_text())
    features["audio"]["parameters"] = {"model": "~/wav2vec2", "libraries": {}}
    (run / "features.json").write_text(json.dumps(features))
    with pytest.raises(ConfigError) as refused:
        share_run(run, tmp_path / "out", registry)
    assert [key for key, _ in refused.value.problems] == ["backbone.name", "features.audio.parameters.model"]
    assert "--public FOLDER=NAME" in refused.value.hint
    assert not (tmp_path / "out").exists()
    names = {"/models/qwen": "hf:Qwen/Qwen3-0.6B", "~/wav2vec2": "facebook/wav2vec2-base"}
    out = share_run(run, tmp_path / "out", registry, Sharing(public_names=names))
    named = yaml.safe_load((out / "pipeline.yaml").read_text())["backbone"]
    assert (named["name"], named["path"]) == ("hf:Qwen/Qwen3-0.6B", None)
    parameters = json.loads((out / "features.json").read_text())["audio"]["parameters"]
    assert parameters["model"] == "facebook/wav2vec2-base"
    assert "base_model: Qwen/Qwen3-0.6B" in (out / "README.md").read_text()


def test_only_finished_runs_are_shared_and_nothing_is_replaced(trained, shared, registry, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        share_run(trained, shared, registry)
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "metrics.json").unlink()
    with pytest.raises(InputError, match="not a finished run"):
        share_run(run, tmp_path / "out", registry)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_shared_run_does_not_guess_at_a_store(shared):
    with pytest.raises(InputError, match="does not say where its store is"):
        msakit.load(shared).evaluate()


def test_a_shared_run_is_verified_as_far_as_it_goes(trained, shared, registry):
    """It carries no predictions and names no store: neither is a difference."""
    (found,) = verify(shared, registry)
    assert found.differences == []
    compared = {check.what for check in found.checks} - {check.what for check in found.unchecked}
    assert {"pipeline.yaml", "features.json", "adapter/adapter.safetensors", "version of torch"} <= compared
    told = {check.what: check.found for check in found.unchecked}
    assert told.keys() == {"valid predictions", "test predictions", "data"}
    assert "a shared run carries none" in told["test predictions"]
    assert f"msakit evaluate {shared} --split test --store STORE" in told["test predictions"]
    assert told["data"] == "not compared: the run names no store; give it with --store"

    (found,) = verify(shared, registry, store=trained.parents[2] / "store")
    assert found.differences == []
    assert {check.what for check in found.unchecked} == {"valid predictions", "test predictions"}
    assert {"data: table_digest", "test mean baseline"} <= {check.what for check in found.checks}
