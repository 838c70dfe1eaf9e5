"""From a media file to an answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from tests.conftest import tiny_pipeline

pytest.importorskip("mediapipe")
pytest.importorskip("librosa")

ROOT = Path(__file__).parents[2]
CLIPS = ROOT / "examples" / "clips"


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on the shipped corpus, one epoch on the tiny backbone."""
    folder = tmp_path_factory.mktemp("media")
    training = {"epochs": 1, "batch_size": 64, "evaluation_batch_size": 64}
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tiny_pipeline(training=training)))
    code, _, stderr = run(
        "train", file, "--store", ROOT / "msakit" / "data" / "demo.h5", "-o", folder / "run"
    )
    assert code == 0, stderr
    return folder / "run"


@pytest.fixture(scope="module")
def clip():
    with (CLIPS / "manifest.csv").open(encoding="utf-8") as file:
        return next(csv.DictReader(file))


def test_a_clip_is_answered_as_its_stored_features_are(trained, clip):
    """The run's own extractors, on the shipped clip, against the features shipped of the same clip."""
    code, stdout, stderr = run("predict", trained, CLIPS / clip["path"], "--text", clip["text"], "--json")
    assert code == 0, stderr
    [from_media] = json.loads(stdout)
    [stored] = json.loads(run("predict", trained, "--id", clip["id"], "--json")[1])
    assert from_media["absent"] == []
    assert dict(from_media["likeliest"]) == pytest.approx(dict(stored["likeliest"]), abs=2e-3)
    assert from_media["prediction"] == pytest.approx(stored["prediction"], abs=0.11)


def test_a_damaged_clip_is_named(trained, tmp_path, clip):
    whole = (CLIPS / clip["path"]).read_bytes()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(whole[: len(whole) // 3])
    code, stdout, stderr = run("predict", trained, damaged, "--text", "so so")
    assert code == 2
    assert "damaged.mp4" in stderr.replace("\n", "")
    assert "Traceback" not in stderr
    assert stdout == ""


def test_texts_must_match_the_files(trained, clip):
    path = CLIPS / clip["path"]
    code, _, stderr = run("predict", trained, path, "--text", "one", "--text", "two")
    assert (code, "2 texts for 1 files" in stderr) == (2, True)


def test_imported_features_cannot_be_made_from_media(tmp_path, store, clip):
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tiny_pipeline()))
    assert run("train", file, "--store", store, "-o", tmp_path / "run")[0] == 0
    code, _, stderr = run("predict", tmp_path / "run", CLIPS / clip["path"], "--text", "so so")
    assert code == 2
    assert "numbers_audio@1" in stderr
    assert "--id" in stderr
