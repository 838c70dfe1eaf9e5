"""Extractors so cheap that decoding is all there is to measure."""

from __future__ import annotations

import numpy as np

from msakit.core.interfaces import FeatureArray, MediaClip
from msakit.extraction.media import decode_audio, decode_frames


class CheapExtractor:
    """One column, once a second, without settings or weights."""

    version, width, frame_shift_s, start_s = 1, 1, 1.0, 0.0
    deterministic = True

    def parameters(self) -> dict[str, object]:
        return {}

    def weights(self) -> list[str]:
        return []


class Loudness(CheapExtractor):
    """The loudness of every second, heard at 48 kHz."""

    name, modality = "loudness", "audio"

    def extract(self, clip: MediaClip) -> FeatureArray:
        samples = decode_audio(clip, 48_000)
        seconds = np.array_split(samples, max(1, len(samples) // 48_000))
        return FeatureArray(np.array([[np.abs(each).mean()] for each in seconds], np.float32), 1.0)


class Brightness(CheapExtractor):
    """The mean of a picture every second."""

    name, modality = "brightness", "vision"

    def extract(self, clip: MediaClip) -> FeatureArray:
        return FeatureArray(np.array([[each.mean()] for each in decode_frames(clip, 1)], np.float32), 1.0)
