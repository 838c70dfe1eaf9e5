"""`whisper`: the states of a Whisper encoder, which hears words and how they are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import WhisperFeatureExtractor

from msakit.core.interfaces import FeatureArray
from msakit.extraction.media import decode_audio

from .pretrained import (
    batch_size_on,
    best_device,
    check_layer,
    choose_layer,
    library_versions,
    mean_rows,
)
from .whisper_models import RATE_HZ, WINDOW, load_whisper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import MediaClip

    from .pretrained import Layer

_STATE_S = 0.02
_SAMPLES_PER_STATE = round(RATE_HZ * _STATE_S)


class WhisperExtractor:
    """Encoder states (Radford et al., ICML 2023), one every 20 ms, averaged over rows of `frame_shift_s`.

    Sound is heard in windows of 30 s, the last one filled up with silence, as the model was trained to; the
    states of the silence are dropped. Row t covers the audio from t to t+1 times `frame_shift_s`.
    """

    name = "whisper"
    version = 1
    modality = "audio"
    deterministic = True
    start_s = 0.0

    def __init__(self, *, model: str, revision: str | None, layer: Layer, frame_shift_s: float) -> None:
        self._model_name, self._layer = model, layer
        self.frame_shift_s = frame_shift_s
        self._per_row = round(frame_shift_s / _STATE_S)
        self._device = best_device()
        self.batch_size = batch_size_on(self._device)
        whisper = load_whisper(model, revision)
        self._revision, self._weights = whisper.checkpoint.revision, list(whisper.checkpoint.weights)
        encoder = whisper.model.get_encoder()
        check_layer(layer, encoder.config.encoder_layers)
        self._encoder = encoder.to(self._device).eval().requires_grad_(False)
        self._mels = WhisperFeatureExtractor(feature_size=whisper.num_mels)
        self.width = int(encoder.config.d_model)

    def parameters(self) -> dict[str, object]:
        """The configuration with the revision that was loaded, and the libraries whose numbers these are."""
        return {
            "model": self._model_name,
            "revision": self._revision,
            "layer": self._layer,
            "frame_shift_s": self.frame_shift_s,
            "libraries": library_versions(),
        }

    def weights(self) -> list[str]:
        """SHA-256 of the model's weight files."""
        return self._weights

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Encoder states of a clip, float32 [T, D] with T = ceil(duration / frame_shift_s).

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        return self.encode([self.read(clip)])[0]

    def read(self, clip: MediaClip) -> NDArray[np.float32]:
        """The samples of a clip, as `encode` takes them.

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        return decode_audio(clip, RATE_HZ)

    def encode(self, inputs: Sequence[NDArray[np.float32]]) -> list[FeatureArray]:
        """The encoder states of several clips' samples, `batch_size` windows at a time."""
        windows = [samples[at : at + WINDOW] for samples in inputs for at in range(0, len(samples), WINDOW)]
        states = iter(
            state
            for at in range(0, len(windows), self.batch_size)
            for state in self._states(windows[at : at + self.batch_size])
        )
        results = []
        for samples in inputs:
            whole = torch.cat([next(states) for _ in range(0, len(samples), WINDOW)])
            rows = mean_rows(whole, self._per_row).numpy()
            results.append(FeatureArray(np.ascontiguousarray(rows, np.float32), self.frame_shift_s))
        return results

    @torch.inference_mode()
    def _states(self, windows: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        """States [T, D] of each window, those of the filling left out."""
        mels = self._mels(list(windows), sampling_rate=RATE_HZ, return_tensors="pt").input_features
        found = self._encoder(mels.to(self._device), output_hidden_states=True).hidden_states
        states = choose_layer(found, self._layer).float().cpu()
        counts = [-(-len(window) // _SAMPLES_PER_STATE) for window in windows]
        return [state[:count] for state, count in zip(states, counts, strict=True)]
