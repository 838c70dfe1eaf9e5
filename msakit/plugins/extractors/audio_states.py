"""The common part of extractors that give the hidden states of a pretrained audio model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from msakit.extraction.media import decode_audio

from .pretrained import library_versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from msakit.core.interfaces import FeatureArray, MediaClip

    from .pretrained import Checkpoint, Layer

    Samples = NDArray[np.float32]


class AudioStates(ABC):
    """Hidden states of a pretrained audio model.

    Args:
        model: The model as the configuration names it.
        checkpoint: What was loaded for it.
        layer: Which of its hidden states.
        frame_shift_s: Seconds per row as the configuration has it; None for the model's own step.
        rate_hz: The sampling rate the model hears.
    """

    modality = "audio"
    deterministic = True
    start_s = 0.0

    def __init__(
        self, model: str, checkpoint: Checkpoint, layer: Layer, frame_shift_s: float | None, rate_hz: int
    ) -> None:
        self._configured: dict[str, object] = {
            "model": model,
            "revision": checkpoint.revision,
            "layer": layer,
            "frame_shift_s": frame_shift_s,
        }
        self._weights = list(checkpoint.weights)
        self._layer, self._rate_hz = layer, rate_hz

    def parameters(self) -> dict[str, object]:
        """The configuration with the revision that was loaded, and the libraries whose numbers these are."""
        return {**self._configured, "libraries": library_versions()}

    def weights(self) -> list[str]:
        """SHA-256 of the model's weight files."""
        return self._weights

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Hidden states of a clip, float32 [T, D]: T rows of `frame_shift_s`, at least one, cover it.

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        return self.encode([self.read(clip)])[0]

    def read(self, clip: MediaClip) -> Samples:
        """The samples of a clip, as `encode` takes them.

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        return decode_audio(clip, self._rate_hz)

    @abstractmethod
    def encode(self, inputs: Sequence[Samples]) -> list[FeatureArray]:
        """The hidden states of several clips' samples, some windows at a time."""
