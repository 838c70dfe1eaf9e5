"""`whisper`: the states of a Whisper encoder, which hears words and how they are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import WhisperFeatureExtractor

from msakit.core.interfaces import FeatureArray

from .audio_states import AudioStates
from .pretrained import (
    batch_size_on,
    best_device,
    check_layer,
    choose_layer,
    mean_rows,
)
from .whisper_models import RATE_HZ, WINDOW, load_whisper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from .pretrained import Layer

_STATE_S = 0.02
_SAMPLES_PER_STATE = round(RATE_HZ * _STATE_S)


class WhisperExtractor(AudioStates):
    """Encoder states (Radford et al., ICML 2023), one every 20 ms, averaged over rows of `frame_shift_s`.

    Sound is heard in windows of 30 s, the last one filled up with silence, as the model was trained to; the
    states of the silence are dropped. Row t covers the audio from t to t+1 times `frame_shift_s`.
    """

    name = "whisper"
    version = 1

    def __init__(self, *, model: str, revision: str | None, layer: Layer, frame_shift_s: float) -> None:
        whisper = load_whisper(model, revision)
        super().__init__(model, whisper.checkpoint, layer, frame_shift_s, RATE_HZ)
        self.frame_shift_s = frame_shift_s
        self._per_row = round(frame_shift_s / _STATE_S)
        self._device = best_device()
        self.batch_size = batch_size_on(self._device)
        encoder = whisper.model.get_encoder()
        check_layer(layer, encoder.config.encoder_layers)
        self._encoder = encoder.to(self._device).eval().requires_grad_(False)
        self._mels = WhisperFeatureExtractor(feature_size=whisper.num_mels)
        self.width = int(encoder.config.d_model)

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
