"""Blendshapes on the example clips and on frames made for the purpose."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from msakit.core.errors import MissingExtraError
from msakit.core.interfaces import FeatureArray, MediaClip
from msakit.extraction.media import NoFaceError, NoStreamError, decode_frames
from msakit.plugins.extractors import blendshapes, faces
from msakit.plugins.extractors.config import BlendshapesConfig

pytest.importorskip("mediapipe")
pytest.importorskip("av")
from scipy.spatial.transform import Rotation

CLIPS = Path(__file__).parents[3] / "examples/clips"
YAW, ROLL, X, FACE = 53, 54, 55, 58
LEFT_BLINK, RIGHT_BLINK = 9, 10
JAW_OPEN = 25


def make(**settings) -> blendshapes.BlendshapesExtractor:
    return blendshapes.BlendshapesExtractor(**BlendshapesConfig(**settings).model_dump())


@pytest.fixture(scope="module")
def extractor() -> blendshapes.BlendshapesExtractor:
    return make()


@pytest.fixture(scope="module")
def extracted(extractor) -> dict[str, FeatureArray]:
    return {path.stem: extractor.extract(MediaClip(path, path.stem)) for path in sorted(CLIPS.glob("*.mp4"))}


def on_images(monkeypatch, images) -> np.ndarray:
    """Features of these frames at 10 a second."""
    monkeypatch.setattr(blendshapes, "decode_frames", lambda clip, fps: iter(images))
    return make().extract(MediaClip(Path("unused.mp4"), "images")).values


def test_every_frame_of_the_clips_has_a_face(extracted):
    assert len(extracted) == 6
    for name, features in extracted.items():
        num_frames = len(list(decode_frames(MediaClip(CLIPS / f"{name}.mp4", name), 10)))
        assert features.values.shape == (num_frames, 59)
        assert features.values.dtype == np.float32
        assert features.frame_shift_s == pytest.approx(0.1)
        assert features.values[:, FACE].mean() >= 0.95
        assert np.isfinite(features.values).all()
        assert features.values[:, :52].min() >= 0
        assert features.values[:, :52].max() <= 1


def test_the_mouth_moves_and_the_eyes_blink(extracted):
    for features in extracted.values():
        assert np.ptp(features.values[:, JAW_OPEN]) > 0.02
    assert max(features.values[:, LEFT_BLINK].max() for features in extracted.values()) > 0.4


def test_nothing_is_carried_over_from_another_clip(extracted):
    name = "movie07075"
    again = make().extract(MediaClip(CLIPS / f"{name}.mp4", name))
    assert np.array_equal(again.values, extracted[name].values)


def test_a_frame_without_a_face_is_a_row_of_zeros(monkeypatch):
    face = next(decode_frames(MediaClip(CLIPS / "movie07075.mp4", "clip"), 10))
    grey = np.full_like(face, 128)
    values = on_images(monkeypatch, [grey, face, grey])
    assert not values[0].any()
    assert not values[2].any()
    assert values[1, FACE] == 1
    assert values[1, :52].any()


def test_a_mirrored_face_turns_the_other_way(monkeypatch):
    images = list(decode_frames(MediaClip(CLIPS / "movie05708.mp4", "clip"), 10))[:12]
    seen = on_images(monkeypatch, images)
    mirrored = on_images(monkeypatch, [np.ascontiguousarray(image[:, ::-1]) for image in images])
    assert mirrored[:, ROLL] == pytest.approx(-seen[:, ROLL], abs=0.05)
    assert mirrored[:, X] == pytest.approx(-seen[:, X], abs=0.01)
    assert mirrored[:, LEFT_BLINK].mean() == pytest.approx(seen[:, RIGHT_BLINK].mean(), abs=0.1)


def test_a_clip_without_a_face_lacks_the_modality(monkeypatch):
    grey = np.full((120, 160, 3), 128, np.uint8)
    with pytest.raises(NoFaceError, match=r"unused\.mp4: a face in 0 % of 3 frames"):
        on_images(monkeypatch, [grey] * 3)


@pytest.mark.parametrize("angles", [(0, 0, 0), (10, 0, 0), (0, 20, 0), (0, 0, -30), (12, -25, 40)])
def test_pose_inverts_the_rotation_it_is_given(angles):
    pitch, yaw, roll = np.radians(angles)
    matrix = np.eye(4)
    matrix[:3, :3] = 1.7 * Rotation.from_euler("ZYX", [roll, yaw, pitch]).as_matrix()
    matrix[:3, 3] = (5.0, -10.0, -40.0)
    assert blendshapes._pose(matrix) == pytest.approx((pitch, yaw, roll, 0.05, -0.1, -0.4), abs=1e-6)


def test_a_file_without_video_lacks_the_modality(extractor, tmp_path):
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(32000))
    with pytest.raises(NoStreamError):
        extractor.extract(MediaClip(tmp_path / "a.wav", "a"))


def test_identity_holds_settings_library_and_model(extractor):
    parameters = extractor.parameters()
    assert parameters.keys() - {"libraries"} == BlendshapesConfig.model_fields.keys()
    assert parameters["libraries"].keys() == {"mediapipe"}
    assert [len(weight) for weight in extractor.weights()] == [64]


def test_without_its_packages_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(faces, "PACKAGE", "no-such-package")
    with pytest.raises(MissingExtraError, match=r"no-such-package.*\n.*msakit\[extract\]"):
        make()
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingExtraError, match="mediapipe"):
        make()


def test_the_ironic_face_shows_in_the_features(extracted):
    """The brows of the clips whose face is marked stand higher than those of the clips whose face is not."""
    with (CLIPS / "manifest.csv").open() as stream:
        marked = {row["id"]: row["marker"] in ("face", "both") for row in csv.DictReader(stream)}
    brows = {name: features.values[:, 3:6].mean() for name, features in extracted.items()}
    assert np.mean([brows[n] for n in brows if marked[n]]) > np.mean(
        [brows[n] for n in brows if not marked[n]]
    )
