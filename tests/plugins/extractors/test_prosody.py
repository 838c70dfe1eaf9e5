"""Prosody against sounds whose properties are known, and against independent computation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from pydantic import ValidationError

from msakit.core.errors import MissingExtraError
from msakit.core.interfaces import MediaClip
from msakit.extraction.media import decode_audio
from msakit.plugins.extractors.config import ProsodyConfig

pytest.importorskip("librosa")
from msakit.plugins.extractors.prosody import ProsodyExtractor

RATE = 16000
CLIP = Path(__file__).parents[3] / "examples/clips/movie03813.mp4"


def make(**settings) -> ProsodyExtractor:
    return ProsodyExtractor(**ProsodyConfig(**settings).model_dump())


def tone(hertz, seconds: float = 1.0) -> np.ndarray:
    """A sawtooth-like tone: five harmonics, so that its pitch is not its only partial."""
    phase = np.cumsum(np.broadcast_to(hertz, round(seconds * RATE)) / RATE)
    return sum(0.2 / k * np.sin(2 * np.pi * k * phase) for k in range(1, 6)).astype(np.float32)


def column(extractor: ProsodyExtractor, values: np.ndarray, name: str) -> np.ndarray:
    return values[:, extractor.columns.index(name)]


@pytest.fixture(scope="module")
def prosody() -> ProsodyExtractor:
    return make()


@pytest.mark.parametrize("hertz", [80, 100, 150, 233, 390])
def test_pitch_of_a_tone_in_semitones(prosody, hertz):
    values = prosody.analyse(tone(hertz))[1:-1]
    assert column(prosody, values, "pitch_semitones") == pytest.approx(12 * np.log2(hertz / 100), abs=0.1)
    assert column(prosody, values, "pitch_spread") == pytest.approx(0, abs=0.05)
    assert (column(prosody, values, "voicing") == 1).all()
    assert (column(prosody, values, "periodicity") > 0.95).all()


def test_a_glide_has_the_slope_it_was_given(prosody):
    seconds, octave = 2.0, 12.0
    hertz = 100 * 2 ** (np.arange(round(seconds * RATE)) / (seconds * RATE))
    values = prosody.analyse(tone(hertz, seconds))[2:-2]
    expected = octave / seconds * prosody.frame_shift_s
    assert column(prosody, values, "pitch_semitones_slope") == pytest.approx(expected, abs=0.1)


def test_noise_and_silence_are_unvoiced(prosody):
    noise = prosody.analyse(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32))
    assert column(prosody, noise, "voicing").mean() < 0.1
    silence = prosody.analyse(np.zeros(RATE, np.float32))
    assert np.isfinite(silence).all()
    assert not column(prosody, silence, "voicing").any()
    assert not column(prosody, silence, "pitch_semitones").any()


def test_unvoiced_stretches_take_the_pitch_around_them(prosody):
    gap = np.zeros(RATE // 2, np.float32)
    values = prosody.analyse(np.concatenate([tone(150, 0.5), gap, tone(150, 0.5)]))
    assert not column(prosody, values, "voicing")[12:18].any()
    assert column(prosody, values, "pitch_semitones")[1:-1] == pytest.approx(12 * np.log2(1.5), abs=0.5)


def test_twice_as_loud_is_log_two_more_energy(prosody):
    quiet, loud = prosody.analyse(tone(150)), prosody.analyse(2 * tone(150))
    difference = column(prosody, loud, "log_energy") - column(prosody, quiet, "log_energy")
    assert difference[1:-1] == pytest.approx(np.log(2), abs=1e-5)


def test_spectral_centre_follows_the_sound(prosody):
    low, high = (np.sin(2 * np.pi * f * np.arange(RATE) / RATE).astype(np.float32) for f in (500, 3000))
    for sound, kilohertz in ((low, 0.5), (high, 3.0)):
        values = prosody.analyse(0.3 * sound)[1:-1]
        assert column(prosody, values, "centroid") == pytest.approx(kilohertz, abs=0.06)


def test_cepstra_equal_an_independent_computation():
    librosa = pytest.importorskip("librosa")
    extractor = make(frame_shift_s=0.01)
    samples = decode_audio(MediaClip(CLIP, "clip"), RATE)
    values = extractor.analyse(samples)
    step, window, filters = 160, 512, librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40)
    for row in (20, 90, 150):
        start = row * step - (window - step) // 2
        power = (
            np.abs(np.fft.rfft(samples[start : start + window].astype(np.float64) * np.hanning(window))) ** 2
        )
        log_mel = np.log(np.maximum(filters @ power, 1e-10))
        expected = scipy.fft.dct(log_mel, type=2, norm="ortho")[:13] / np.sqrt(40)
        np.testing.assert_allclose(values[row, :13], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("num_samples", [1, 80, 160, 161, 799, 800, 801, 4000])
def test_one_row_per_begun_shift(prosody, num_samples):
    values = prosody.analyse(tone(150)[:num_samples])
    assert values.shape == (-(-num_samples // 800), prosody.width)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_longer_rows_are_means_of_shorter_ones():
    samples = decode_audio(MediaClip(CLIP, "clip"), RATE)
    fine, coarse = make(frame_shift_s=0.01), make(frame_shift_s=0.1)
    few, many = coarse.analyse(samples), fine.analyse(samples)
    whole = len(many) // 10
    for name in (
        *(f"mfcc{k}" for k in range(13)),
        "log_energy",
        "periodicity",
        "centroid",
        "flux",
        "pitch_semitones",
    ):
        means = column(fine, many, name)[: whole * 10].reshape(whole, 10).mean(1)
        np.testing.assert_allclose(column(coarse, few, name)[:whole], means, rtol=1e-4, atol=1e-4)


def test_a_clip_gives_the_same_numbers_again_and_after_another_clip(prosody):
    other = CLIP.with_name("movie06448.mp4")
    first = prosody.extract(MediaClip(CLIP, "a"))
    prosody.extract(MediaClip(other, "b"))
    again = make().extract(MediaClip(CLIP, "a"))
    assert first.frame_shift_s == 0.05
    assert np.array_equal(first.values, again.values)


def test_identity_holds_every_setting_and_the_library(prosody):
    parameters = prosody.parameters()
    assert parameters.keys() - {"libraries"} == ProsodyConfig.model_fields.keys()
    assert parameters["libraries"].keys() == {"librosa"}
    assert prosody.weights() == []
    assert len(set(prosody.columns)) == prosody.width == 40
    assert make(num_mfcc=20).width == 54


@pytest.mark.parametrize(
    "settings",
    [
        {"frame_shift_s": 0.025},
        {"pitch_floor_hz": 500},
        {"pitch_ceiling_hz": 9000},
        {"num_mfcc": 0},
        {"hop": 1},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        ProsodyConfig(**settings)


def test_without_librosa_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingExtraError, match=r"msakit\[extract\]"):
        make()


def test_its_modules_import_nothing_heavy():
    code = (
        "import sys, msakit.plugins.extractors.prosody, msakit.plugins.extractors.blendshapes;"
        "print([m for m in ('torch', 'librosa', 'mediapipe', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
