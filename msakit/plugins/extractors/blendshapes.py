"""`blendshapes`: what a face does, from MediaPipe's face landmarker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.interfaces import FeatureArray
from msakit.extraction.media import NoFaceError, decode_frames

from .faces import FaceLandmarker, face_notes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

_NUM_BLENDSHAPES = 52
_POSE = ("pitch_rad", "yaw_rad", "roll_rad", "x_m", "y_m", "z_m")


class BlendshapesExtractor:
    """52 blendshape scores, head pose and whether there is a face, for each of `fps` frames a second.

    Columns: MediaPipe's blendshapes in its order (0 `_neutral`, 1 `browDownLeft`, ... 51 `noseSneerRight`),
    head rotation (radians) and position (metres, in the landmarker's camera frame), and `face`: 1 where a
    face was found. A frame without a face is a row of zeros, `face` included; a clip without a face lacks
    the modality. One face is followed, the most prominent. Frames of one clip are tracked; nothing is carried
    from one clip to the next.
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
        self._faces = FaceLandmarker("The extractor 'blendshapes'", min_detection_confidence)

    def parameters(self) -> dict[str, object]:
        """The configuration, and the library whose numbers these are."""
        return {
            "fps": self._fps,
            "min_detection_confidence": self._confidence,
            "libraries": {"mediapipe": self._faces.version},
        }

    def weights(self) -> list[str]:
        """SHA-256 of the landmarker model."""
        return [self._faces.sha256]

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Blendshapes of a clip, float32 [T, 59].

        Raises:
            NoFaceError: No frame has a face.
            MediaError: The clip cannot be decoded or has no video.
        """
        with self._faces.tracking(self._fps) as tracker:
            rows = [_row(tracker.find(image)) for image in decode_frames(clip, self._fps)]
        values = np.stack(rows)
        if not values[:, -1].any():
            raise NoFaceError(clip, len(rows))
        return FeatureArray(values, self.frame_shift_s, face_notes(values[:, -1]))


def _row(found: Any | None) -> NDArray[np.float32]:
    if found is None:
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
