"""Where somebody speaks in a recording, by Silero's voice activity detector.

Source: github.com/snakers4/silero-vad, whose package carries the weights (MIT).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from msakit.core.errors import MissingExtraError
from msakit.extraction.media import audio_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

PAUSE_S = 0.5
"""Silence that ends a stretch of speech."""

LONGEST_S = 30.0
"""Speech without a pause is cut at this length, at its longest silence if it has any."""

_RATE_HZ = 16_000
_WINDOW = 512  # samples the detector looks at together
_MARGIN_S = 0.2  # kept before and after speech


def speech_stretches(clip: MediaClip) -> list[tuple[float, float]]:
    """Stretches of speech in a clip, in seconds of its file; holds a few seconds of sound at a time.

    Raises:
        MissingExtraError: silero-vad is not installed.
        MediaError: The clip cannot be decoded or has no sound.
    """
    detector, stretches_of = _detector()
    start = clip.start_s or 0.0
    with _one_thread(), torch.inference_mode():
        detector.reset_states()
        chances = [float(detector(torch.from_numpy(window), _RATE_HZ)) for window in _windows(clip)]
    found = stretches_of(
        chances,
        sampling_rate=_RATE_HZ,
        min_silence_duration_ms=round(1000 * PAUSE_S),
        speech_pad_ms=round(1000 * _MARGIN_S),
        max_speech_duration_s=LONGEST_S,
    )
    return [(start + each["start"] / _RATE_HZ, start + each["end"] / _RATE_HZ) for each in found]


@cache
def _detector() -> tuple[Any, Callable[..., list[dict[str, int]]]]:
    """The model, and what turns its probabilities into stretches."""
    # Importing it sets torch's threads for the whole process, and it loads its model by ways that will go.
    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            from silero_vad import get_speech_timestamps_from_probs, load_silero_vad
        except ModuleNotFoundError as error:
            raise MissingExtraError("Cutting at pauses", "silero-vad", "vad") from error
        return load_silero_vad(), get_speech_timestamps_from_probs


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within it torch computes on one thread: the model is too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _windows(clip: MediaClip) -> Iterator[NDArray[np.float32]]:
    """The clip's sound in windows of one size, the last filled up with silence."""
    held = np.empty(0, np.float32)
    for piece in audio_pieces(clip, _RATE_HZ):
        held = np.concatenate([held, piece])
        for at in range(0, len(held) - _WINDOW + 1, _WINDOW):
            yield held[at : at + _WINDOW]
        held = held[len(held) // _WINDOW * _WINDOW :]
    if held.size:
        yield np.pad(held, (0, _WINDOW - len(held)))
