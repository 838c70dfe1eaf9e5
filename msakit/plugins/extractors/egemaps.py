"""`egemaps`: the extended Geneva minimalistic acoustic parameter set, computed by openSMILE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import MediaError, MissingExtraError
from msakit.core.interfaces import FeatureArray
from msakit.extraction.media import decode_audio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

_RATE_HZ = 16000
_STEP_S = 0.01
_SHORTEST_S = 0.06  # openSMILE's longest analysis window


class EgemapsExtractor:
    """eGeMAPS v02 (Eyben et al., IEEE Trans. Affective Computing 2016), in openSMILE's columns and order.

    With the level "lld" 25 low-level descriptors every 10 ms, averaged over rows of `frame_shift_s`; row t
    begins t times `frame_shift_s` into the clip. With "functionals" 88 statistics of the whole clip, one row.

    openSMILE is free for research and other non-commercial purposes; its licence forbids its use in
    commercial products.
    """

    name = "egemaps"
    version = 1
    modality = "audio"
    deterministic = True
    start_s = 0.0

    def __init__(self, *, level: str, frame_shift_s: float) -> None:
        self._level, self._shift_s = level, frame_shift_s
        self._opensmile = _import_opensmile()
        chosen = "Functionals" if level == "functionals" else "LowLevelDescriptors"
        self._smile = self._opensmile.Smile(
            feature_set=self._opensmile.FeatureSet.eGeMAPSv02,
            feature_level=self._opensmile.FeatureLevel[chosen],
        )
        self.columns: tuple[str, ...] = tuple(self._smile.feature_names)
        self.width = len(self.columns)
        self.frame_shift_s = None if level == "functionals" else frame_shift_s

    def parameters(self) -> dict[str, object]:
        """The configuration, and the library whose numbers these are."""
        return {
            "level": self._level,
            "frame_shift_s": self._shift_s,
            "libraries": {"opensmile": str(self._opensmile.__version__)},
        }

    def weights(self) -> list[str]:
        """None: signal processing only."""
        return []

    def extract(self, clip: MediaClip) -> FeatureArray:
        """EGeMAPS of a clip, float32 [T, 25] or [1, 88].

        Raises:
            MediaError: The clip cannot be decoded, has no audio, or is shorter than 60 ms.
        """
        samples = decode_audio(clip, _RATE_HZ)
        if len(samples) < _SHORTEST_S * _RATE_HZ:
            seconds = f"{len(samples) / _RATE_HZ:.3f} s"
            raise MediaError(f"{clip.path}: {seconds} of audio; eGeMAPS needs {_SHORTEST_S} s at least")
        values = np.asarray(self._smile.process_signal(samples, _RATE_HZ), np.float32)
        if self.frame_shift_s is not None:
            values = _mean_rows(values, round(self.frame_shift_s / _STEP_S))
        return FeatureArray(values, self.frame_shift_s)


def _mean_rows(values: NDArray[np.float32], per_row: int) -> NDArray[np.float32]:
    starts = np.arange(0, len(values), per_row)
    counts = np.diff(np.append(starts, len(values)))
    sums = np.add.reduceat(values.astype(np.float64), starts, axis=0)
    return np.asarray(sums / counts[:, None], np.float32)


def _import_opensmile() -> Any:
    try:
        import opensmile
    except ModuleNotFoundError as error:
        raise MissingExtraError("The extractor 'egemaps'", error.name or "opensmile", "egemaps") from error
    return opensmile
