"""`msakit extract` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.interfaces import MediaClip
from msakit.feature_store import FeatureStore

pytest.importorskip("av")
pytest.importorskip("librosa")
CLIPS = Path(__file__).parents[2] / "examples/clips"


@pytest.fixture
def corpus(tmp_path) -> Path:
    """The manifest of a copy of the example clips."""
    return Path(shutil.copytree(CLIPS, tmp_path / "clips")) / "manifest.csv"


def run(*arguments: object):
    return CliRunner().invoke(app, ["extract", *map(str, arguments)])


def test_clips_become_features_of_the_store(corpus, tmp_path):
    from msakit.plugins.extractors.config import ProsodyConfig
    from msakit.plugins.extractors.prosody import ProsodyExtractor

    result = run(corpus, "--audio", "prosody", "--store", tmp_path / "s", "--set", "audio.frame_shift_s=0.1")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["modality", "extracted", "already", "stored", "audio", "6", "0"]
    assert "clips, version 1, 6 samples" in result.stderr
    store = FeatureStore.open(tmp_path / "s")
    table = store.table("clips")
    values = store.reader(table, "audio").read_one(table.id.index("movie05708"))
    extractor = ProsodyExtractor(**ProsodyConfig(frame_shift_s=0.1).model_dump())
    assert np.array_equal(values, extractor.extract(MediaClip(CLIPS / "movie05708.mp4", "x")).values)
    assert table.extra["delivery"][table.id.index("movie05708")] == "ironic"
    assert table.label[table.id.index("movie05708")] == 2.625


def test_a_plain_folder_of_clips_is_enough(tmp_path):
    folder = tmp_path / "takes"
    shutil.copytree(CLIPS, folder, ignore=lambda _, names: [name for name in names if "5708" not in name])
    (folder / "movie05708.txt").write_text("what a film")
    result = run(folder, "--audio", "prosody", "--store", tmp_path / "s")
    assert result.exit_code == 0, result.output
    table = FeatureStore.open(tmp_path / "s").table("takes")
    assert (table.id, table.text, table.split) == (("movie05708",), ("what a film",), ("",))
    result = run(tmp_path / "empty", "--audio", "prosody", "--store", tmp_path / "s")
    assert result.exit_code == 2
    assert "empty" in result.stderr


def test_both_modalities_and_a_second_run_that_has_nothing_to_do(corpus, tmp_path):
    pytest.importorskip("mediapipe")
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:2]))
    arguments = (corpus, "--audio", "prosody", "--vision", "blendshapes", "--store", tmp_path / "s", "--json")
    first, second = (json.loads(run(*arguments).stdout) for _ in range(2))
    assert first["extracted"] == {"audio": 1, "vision": 1}
    assert first["reused"] == {"audio": 0, "vision": 0}
    assert second["extracted"] == {"audio": 0, "vision": 0}
    assert second["reused"] == {"audio": 1, "vision": 1}
    assert (first["version"], second["version"]) == (1, 2)
    table = FeatureStore.open(tmp_path / "s").table("clips")
    assert {name: column.present.all() for name, column in table.features.items()} == {
        "audio": True,
        "vision": True,
    }


def test_a_corrupt_clip_fails_alone(corpus, tmp_path):
    path = corpus.parent / "movie05708.mp4"
    path.write_bytes(path.read_bytes()[:9000])
    result = run(corpus, "--audio", "prosody", "--store", tmp_path / "s", "-d", "mine")
    assert result.exit_code == 1
    assert "1 failed and left out:" in result.stderr
    assert "movie05708 audio:" in result.stderr
    assert "movie05708.mp4: cannot be decoded" in result.stderr
    assert "mine, version 1, 5 samples" in result.stderr
    assert len(FeatureStore.open(tmp_path / "s").table("mine")) == 5


def test_of_a_folder_of_bad_media_what_is_whole_is_kept(tmp_path):
    from extraction.bad_media import BROKEN, SILENT, SOUND, write_bad_media

    folder = write_bad_media(tmp_path / "bad")
    result = run(folder, "--audio", "prosody", "--store", tmp_path / "s", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    failed = {problem["clip_id"]: problem["reason"] for problem in report["failed"]}
    assert failed.keys() == BROKEN.keys()
    assert [name for name, reason in BROKEN.items() if reason not in failed[name]] == []
    assert [problem["clip_id"] for problem in report["absent"]] == sorted(SILENT)
    table = FeatureStore.open(tmp_path / "s").table("bad")
    assert {*table.id} == {"good", *SOUND, *SILENT}
    heard = {name for name, present in zip(table.id, table.features["audio"].present, strict=True) if present}
    assert heard == {"good", *SOUND}


def test_shards_of_a_manifest_come_together_in_one_store(corpus, tmp_path):
    """Each shard has its own store; the command without --shard then has nothing left to extract."""
    command = [corpus, "--audio", "prosody", "-d", "clips"]
    shares = [tmp_path / f"part{number}" for number in (1, 2)]
    for number, share in enumerate(shares, start=1):
        result = run(*command, "--store", share, "--shard", f"{number}/2", "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["version"] is None
    whole = tmp_path / "whole"
    result = CliRunner().invoke(app, ["store", "merge", str(whole), *map(str, shares)])
    assert result.exit_code == 0, result.output
    result = run(*command, "--store", whole, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["extracted"] == {"audio": 0}
    assert report["reused"]["audio"] == report["clips"] == len(FeatureStore.open(whole).table("clips"))


def test_a_dry_run_makes_no_store(corpus, tmp_path):
    result = run(corpus, "--audio", "prosody", "--store", tmp_path / "s", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.split()[-3:] == ["audio", "6", "0"]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No extractor was given"),
        (("--audio", "prosodi"), "Did you mean: prosody?"),
        (("--vision", "prosody"), "'prosody' is for audio, not for vision"),
        (("--audio", "prosody", "--set", "audio.hop=3"), "hop"),
        (("--audio", "prosody", "--set", "audio.num_mfcc=many"), "num_mfcc"),
        (("--audio", "prosody", "--set", "vision.fps=3"), "audio.SETTING"),
        (("--audio", "prosody", "--set", "fps"), "KEY=VALUE is expected"),
        (("--audio", "prosody", "--nonfinite", "ignore"), "none of error, keep, zero"),
        (("--audio", "prosody", "--dtype", "float8"), "float8"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(corpus, tmp_path, arguments, message):
    result = run(corpus, "--store", tmp_path / "s", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "s").exists()


def test_a_bad_manifest_is_named_with_its_lines(corpus, tmp_path):
    corpus.write_text(corpus.read_text().replace(",test,test00", ",dev,test00"))
    result = run(corpus, "--audio", "prosody", "--store", tmp_path / "s")
    assert result.exit_code == 2
    assert "manifest.csv is not valid" in result.stderr
    assert "line 3" in result.stderr
    assert not (tmp_path / "s").exists()


def test_help_ends_with_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "Example: msakit extract examples/clips/manifest.csv" in " ".join(result.stdout.split())
