"""The Python face: what a notebook does."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import msakit
from tests.conftest import WIDTHS

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "training.epochs": 1,
    "training.batch_size": 8,
    "encoders.audio.hidden_size": 8,
    "encoders.vision.hidden_size": 8,
}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiny_build(store, **changes):
    choices = {"dataset": "demo", "injector": "pseudo2", "backbone": "tiny", "store": str(store)}
    return msakit.build(**{**choices, "settings": SETTINGS, **changes})


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return msakit.train(tiny_build(store), store=store, output=tmp_path_factory.mktemp("api") / "run")


def test_dir_lists_the_public_names_and_each_can_be_had():
    assert "build" in dir(msakit)
    assert [name for name in dir(msakit) if getattr(msakit, name) is None] == []


def test_build_says_what_it_built(store):
    pipeline = tiny_build(store)
    shown = repr(pipeline)
    for word in ("demo", "audio: lstm", "tgm", "tiny", f"{pipeline.sizes.trainable:,}"):
        assert word in shown
    with pytest.raises(msakit.MsakitError, match="Unknown fuser"):
        msakit.build(fuser="nonsense")


def test_what_is_saved_builds_the_same_pipeline(store, tmp_path):
    from msakit.core.pipeline.config import read_pipeline

    pipeline = tiny_build(store)
    again = read_pipeline(pipeline.save(str(tmp_path / "pipeline.yaml")))
    assert again.model_dump()["training"] == pipeline.resolved.config.model_dump()["training"]


def test_encoders_by_modality(store):
    pipeline = tiny_build(store, encoders={"audio": "bilstm"}, settings={})
    assert list(pipeline.resolved.encoders) == ["audio"]


def test_a_run_is_trained_evaluated_and_loaded_again(run, store):
    assert {"valid", "test"} <= set(run.metrics)
    again = msakit.load(str(run.path))
    assert again.metrics == run.metrics
    assert again.evaluate("test", store=store)["test"]["mae"] == pytest.approx(run.metrics["test"]["mae"])
    assert str(run.path) in repr(again)
    assert "demo" in repr(again)


def test_predictions_agree_with_the_recorded_metrics(run):
    rows = run.predictions("test")
    rows = rows.to_dict("records") if hasattr(rows, "to_dict") else rows
    errors = [abs(row["prediction"] - row["label"]) for row in rows]
    assert len(rows) == 12
    assert np.mean(errors) == pytest.approx(run.metrics["test"]["mae"], abs=1e-6)
    assert sum(value for key, value in rows[0].items() if key.startswith("p:")) == pytest.approx(1, abs=1e-3)


def test_text_alone_is_answered(run):
    one = run.predict(text="what a film")
    assert -3 <= one.prediction <= 3
    assert set(one.absent) == set(WIDTHS)
    many = run.predict(text=["great", "awful"])
    assert [answer.id for answer in many] == ["great", "awful"]
    with pytest.raises(msakit.MsakitError, match="nothing to predict"):
        run.predict()


def test_the_demo_store_opens_by_name():
    assert msakit.open_store("demo").datasets() == ["demo"]


def test_the_script_of_the_docs_runs(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["python_api.py", str(store), str(tmp_path / "run"), "tiny"])
    runpy.run_path(str(ROOT / "examples" / "python_api.py"))
    assert "test MAE" in capsys.readouterr().out
