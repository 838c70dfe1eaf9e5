"""`hf-audio`: hidden states of wav2vec 2.0, HuBERT, WavLM or another audio encoder of transformers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from msakit.core.errors import InputError
from msakit.core.interfaces import FeatureArray

from .audio_states import AudioStates
from .pretrained import (
    MASKING,
    batch_size_on,
    best_device,
    check_layer,
    choose_layer,
    find_checkpoint,
    load_whole,
    mean_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from .pretrained import Layer

    Samples = NDArray[np.float32]

_WINDOW_S = 30  # attention grows with the square of what is heard at once
_OWN_EXTRACTOR = {"whisper": "whisper"}


class HfAudioExtractor(AudioStates):
    """Hidden states of an encoder that convolves samples to steps (20 ms in wav2vec 2.0 and its kin).

    Sound is heard in windows of 30 s at the model's sampling rate. A window brings along the samples that
    its last step needs of the next one, so that steps stay on one clock. Row t begins t times
    `frame_shift_s` into the clip.
    """

    name = "hf-audio"
    version = 1

    def __init__(
        self, *, model: str, revision: str | None, layer: Layer, frame_shift_s: float | None
    ) -> None:
        checkpoint = find_checkpoint(model, revision)
        config = AutoConfig.from_pretrained(checkpoint.folder)
        self._step, self._field = _steps_of(config, model)
        check_layer(layer, config.num_hidden_layers)
        self._processor = AutoFeatureExtractor.from_pretrained(checkpoint.folder)
        super().__init__(model, checkpoint, layer, frame_shift_s, int(self._processor.sampling_rate))
        self._per_row = _rows_of(frame_shift_s, self._step / self._rate_hz)
        self.frame_shift_s = self._per_row * self._step / self._rate_hz
        self._device = best_device()
        self.batch_size = batch_size_on(self._device)
        self._model = load_whole(AutoModel, checkpoint.folder, MASKING).to(self._device)
        self.width = int(config.hidden_size)

    def encode(self, inputs: Sequence[Samples]) -> list[FeatureArray]:
        """The hidden states of several clips' samples, up to `batch_size` windows at a time."""
        windows = [self._windows(samples) for samples in inputs]
        flat = [window for of_clip in windows for window in of_clip]
        states: dict[int, Tensor] = {}
        for batch in self._batches(flat):
            states.update(zip(batch, self._states([flat[at] for at in batch]), strict=True))
        results, done = [], 0
        for of_clip in windows:
            whole = torch.cat([states[at] for at in range(done, done + len(of_clip))])
            done += len(of_clip)
            rows = mean_rows(whole, self._per_row).numpy()
            results.append(FeatureArray(np.ascontiguousarray(rows, np.float32), self.frame_shift_s))
        return results

    def _windows(self, samples: Samples) -> list[Samples]:
        """Windows of 30 s and the overlap; none shorter than one step needs, the last filled with silence."""
        length = _WINDOW_S * self._rate_hz // self._step * self._step
        overlap = self._field - self._step
        starts = range(0, max(1, len(samples) - overlap), length)
        windows = [samples[at : at + length + overlap] for at in starts]
        missing = max(0, self._field - len(windows[-1]))
        windows[-1] = np.pad(windows[-1], (0, missing))
        return windows

    def _batches(self, windows: Sequence[Samples]) -> list[list[int]]:
        """Indices of windows of one length: filling up would change what some of these models hear."""
        by_length: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            by_length.setdefault(len(window), []).append(index)
        size = self.batch_size
        return [same[at : at + size] for same in by_length.values() for at in range(0, len(same), size)]

    @torch.inference_mode()
    def _states(self, windows: Sequence[Samples]) -> list[Tensor]:
        inputs: Any = self._processor(list(windows), sampling_rate=self._rate_hz, return_tensors="pt")
        inputs = {name: value.to(self._device) for name, value in inputs.items()}
        found = self._model(**inputs, output_hidden_states=True).hidden_states
        return list(choose_layer(found, self._layer).float().cpu())


def _steps_of(config: Any, model: str) -> tuple[int, int]:
    """Samples from one step to the next, and samples that a step is computed from.

    Raises:
        InputError: The model is no encoder that convolves samples.
    """
    strides, kernels = getattr(config, "conv_stride", None), getattr(config, "conv_kernel", None)
    if not strides or not kernels:
        other = _OWN_EXTRACTOR.get(config.model_type)
        raise InputError(
            f"'{model}' ({config.model_type}) is no audio encoder that reads samples.",
            hint=f"Use the extractor {other} for it." if other else "Such are wav2vec2, HuBERT and WavLM.",
        )
    field, step = 1, 1
    for stride, kernel in zip(strides, kernels, strict=True):
        field += (kernel - 1) * step
        step *= stride
    return step, field


def _rows_of(frame_shift_s: float | None, step_s: float) -> int:
    """Steps a row.

    Raises:
        InputError: A row is no whole number of steps.
    """
    per_row = 1.0 if frame_shift_s is None else frame_shift_s / step_s
    if per_row < 0.5 or not math.isclose(per_row, round(per_row), rel_tol=1e-6):
        raise InputError(f"frame_shift_s {frame_shift_s} is not a multiple of {step_s:g}, the model's step.")
    return round(per_row)
