"""`msakit verify`: a run that is as it was passes, and whatever was changed is named."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from msakit.cli.verify import app
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.evaluation.ablation import Ablation
from msakit.feature_store import FeatureStore
from msakit.samples.samples import Samples
from msakit.workflows.evaluate import evaluate_run
from msakit.workflows.train import TrainingPlan, train_run
from msakit.workflows.verify import verify
from tests.conftest import fill_store, tiny_pipeline


@pytest.fixture(scope="module")
def original(registry, tmp_path_factory):
    """A store, and a run on it with one further evaluation."""
    folder = tmp_path_factory.mktemp("verify")
    store = fill_store(folder / "store")
    resolved = resolve(parse_pipeline(tiny_pipeline(), "test"), registry)
    trained = train_run(TrainingPlan(resolved, store, folder / "study" / "tgm" / "seed-1"), registry)
    evaluate_run(trained, Samples.open(store, resolved), ["test"], ablations=[Ablation("audio")])
    return folder


@pytest.fixture
def copy(original, tmp_path):
    """A run that may be changed."""
    return shutil.copytree(original / "study" / "tgm" / "seed-1", tmp_path / "run")


def adapter_of(run):
    (file,) = run.glob("adapter/step-*/adapter.safetensors")
    return file


def differing(path, registry, **options):
    (found,) = verify(path, registry, **options)
    return {check.what for check in found.differences}


def test_a_run_is_as_it_was(original, registry):
    (found,) = verify(original / "study", registry)
    assert found.differences == found.unchecked == []
    compared = {check.what for check in found.checks}
    assert {
        "test mae", "without audio (absent): test mae", "predictions.test.csv", "pipeline.yaml",
        "without-audio-absent/predictions.test.csv", "data: table_digest",
        "features of audio: fingerprint", "test mean baseline", "version of torch",
    } <= compared  # fmt: skip
    assert any(re.fullmatch(r"adapter/step-\d+/adapter\.safetensors", what) for what in compared)


def test_a_changed_prediction_is_found(copy, registry):
    file = copy / "predictions.test.csv"
    lines = file.read_text().splitlines()
    cells = lines[1].split(",")
    cells[2] = "-2.9"
    file.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    assert {"test mae", "predictions.test.csv"} <= differing(copy, registry)
    file.unlink()
    assert "test predictions" in differing(copy, registry)


def test_a_changed_figure_adapter_version_and_evaluation_are_found(copy, registry):
    record = json.loads((copy / "metrics.json").read_text())
    record["splits"]["valid"]["corr"] = 0.99
    record["baselines"]["test"]["mean"]["mae"] = 9.0
    (copy / "metrics.json").write_text(json.dumps(record))
    adapter = adapter_of(copy)
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\x00")
    provenance = json.loads((copy / "provenance.json").read_text())
    provenance["versions"]["torch"] = "0.1"
    (copy / "provenance.json").write_text(json.dumps(provenance))
    (copy / "evaluations" / "without-audio-absent" / "predictions.test.csv").unlink()
    expected = {
        "valid corr", "test mean baseline", str(adapter.relative_to(copy)), "version of torch",
        "without audio (absent): test predictions", "without-audio-absent/predictions.test.csv",
    }  # fmt: skip
    found = differing(copy, registry)
    assert expected <= found
    assert found - differing(copy, registry, with_versions=False) == {"version of torch"}


def test_relabelled_samples_and_other_features_are_found(original, copy, registry, tmp_path):
    moved = shutil.copytree(original / "store", tmp_path / "store")
    assert differing(copy, registry, store=moved) == set()
    store = FeatureStore.open(moved)
    table = store.table("demo")
    store.write_table("demo", dataclasses.replace(table, label=table.label / 2))
    assert {"data: table_version", "data: table_digest", "test mean baseline"} <= differing(
        copy, registry, store=moved
    )
    features = json.loads((copy / "features.json").read_text())
    features["audio"]["parameters"] = {"hop_s": 0.02}
    (copy / "features.json").write_text(json.dumps(features))
    assert {"features.json", "features of audio: parameters"} <= differing(copy, registry)


def test_the_command_says_what_differs_and_exits_1(original, copy, tmp_path):
    good = CliRunner().invoke(app, [str(original / "study")])
    assert good.exit_code == 0, good.output
    assert "as recorded" in good.stderr
    adapter_of(copy).unlink()
    bad = CliRunner().invoke(app, [str(copy), "--json"])
    assert bad.exit_code == 1
    (report,) = json.loads(bad.stdout)
    assert [one["found"] for one in report["differences"]] == ["missing", "missing"]
    gone = CliRunner().invoke(app, [str(original / "study"), "--store", str(tmp_path / "nowhere")])
    assert gone.exit_code == 0
    assert "not compared" in gone.stderr
    nothing = CliRunner().invoke(app, [str(tmp_path / "empty")])
    assert nothing.exception is not None
