"""`hf-vision`: what CLIP, SigLIP, DINOv2, ViT or another vision model of transformers makes of each frame."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from msakit.core.errors import InputError
from msakit.core.interfaces import FeatureArray
from msakit.extraction.media import NoFaceError, decode_frames

from .faces import FaceLandmarker, face_notes, square_crop
from .pretrained import (
    batch_size_on,
    best_device,
    find_checkpoint,
    library_versions,
    load_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import MediaClip

    Image = NDArray[np.uint8]

_WHAT = "The extractor 'hf-vision' with region=face"
_CONFIDENCE = 0.5


class HfVisionExtractor:
    """One vector for each of `fps` frames a second, of the face or of the whole frame.

    The face is the most prominent one, cut out as a square with a margin. A frame without a face repeats the
    row of the last face seen (before the first, of the first); a clip without a face lacks the modality. Row
    t is of the picture shown t / `fps` seconds into the clip.
    """

    name = "hf-vision"
    version = 1
    modality = "vision"
    deterministic = True
    start_s = 0.0

    def __init__(
        self, *, model: str, revision: str | None, fps: float, region: str, pooling: str, face_margin: float
    ) -> None:
        self._settings = {"fps": fps, "region": region, "pooling": pooling, "face_margin": face_margin}
        self._fps, self._pooling, self._margin = fps, pooling, face_margin
        self._model_name = model
        self.frame_shift_s = 1 / fps
        checkpoint = find_checkpoint(model, revision)
        self._revision, self._weights = checkpoint.revision, list(checkpoint.weights)
        self._faces = FaceLandmarker(_WHAT, _CONFIDENCE) if region == "face" else None
        if self._faces is not None:
            self._weights.append(self._faces.sha256)
        self._processor = AutoImageProcessor.from_pretrained(checkpoint.folder, backend="pil")
        self._device = best_device()
        self._batch_size = batch_size_on(self._device)
        unused = () if pooling == "pooler" else ("pooler.",)
        self._model = _vision_part(load_whole(AutoModel, checkpoint.folder, unused), model).to(self._device)
        config = AutoConfig.from_pretrained(checkpoint.folder)
        self.width = int(getattr(config, "vision_config", config).hidden_size)

    def parameters(self) -> dict[str, object]:
        """The configuration with the revision that was loaded, and the libraries whose numbers these are."""
        libraries = library_versions()
        if self._faces is not None:
            libraries["mediapipe"] = self._faces.version
        model = {"model": self._model_name, "revision": self._revision}
        return {**model, **self._settings, "libraries": libraries}

    def weights(self) -> list[str]:
        """SHA-256 of the model's weight files, then of the face landmarker's where faces are cut out."""
        return self._weights

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Vectors of a clip's frames, float32 [T, D].

        Raises:
            NoFaceError: Faces are asked for and no frame has one.
            MediaError: The clip cannot be decoded or has no video.
        """
        seen: list[bool] = []
        images = self._images(clip, seen)
        parts = []
        while batch := list(islice(images, self._batch_size)):
            parts.append(self._encode(batch))
        if not parts:
            raise NoFaceError(clip, len(seen))
        found = np.concatenate(parts)
        rows = np.maximum(np.cumsum(seen) - 1, 0)  # each frame's face, or the last before it
        values = np.ascontiguousarray(found[rows], np.float32)
        return FeatureArray(values, self.frame_shift_s, face_notes(seen))

    def _images(self, clip: MediaClip, seen: list[bool]) -> Iterator[Image]:
        """The images given to the model; `seen` records for every frame whether it is one of them."""
        if self._faces is None:
            for image in decode_frames(clip, self._fps):
                seen.append(True)
                yield image
            return
        with self._faces.tracking(self._fps) as tracker:
            for image in decode_frames(clip, self._fps):
                face = tracker.find(image)
                seen.append(face is not None)
                if face is not None:
                    yield square_crop(image, face, self._margin)

    @torch.inference_mode()
    def _encode(self, images: list[Image]) -> NDArray[np.float32]:
        """Vectors [B, D] of images [H, W, 3]."""
        pixels = self._processor(images=images, return_tensors="pt", input_data_format="channels_last")
        output = self._model(pixel_values=pixels["pixel_values"].to(self._device))
        return np.asarray(self._pool(output).float().cpu())

    def _pool(self, output: Any) -> Tensor:
        """The model's own summary, its first token, or the mean of all."""
        states: Tensor = output.last_hidden_state
        if self._pooling == "pooler":
            pooled: Tensor | None = getattr(output, "pooler_output", None)
            if pooled is None:
                raise InputError(
                    f"'{self._model_name}' has no pooler.",
                    hint="Set pooling to cls or mean.",
                )
            return pooled
        return states.mean(dim=1) if self._pooling == "mean" else states[:, 0]


def _vision_part(model: Any, name: str) -> Any:
    """The part of a model that sees: CLIP and SigLIP read text besides.

    Raises:
        InputError: It does not see.
    """
    part = getattr(model, "vision_model", model)
    if part.main_input_name != "pixel_values":
        raise InputError(f"'{name}' ({model.config.model_type}) is no model of images.")
    return part
