"""`prosody`: how something is said, from librosa's licence-clean signal processing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import MissingExtraError
from msakit.core.interfaces import FeatureArray
from msakit.extraction.media import decode_audio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

    Samples = NDArray[np.float32]
    Track = NDArray[np.float64]

_STEP_S = 0.01
_WINDOW_S = 0.032  # spectral analysis
_PERIODS = 3  # the pitch window holds this many periods of the lowest pitch
_REFERENCE_HZ = 100.0  # pitch is in semitones above this
_VOICED = 0.5  # least correlation of a frame with itself one period later
_SILENCE = 1e-5
_NUM_MELS = 40
_SPECTRAL = ("centroid", "bandwidth", "rolloff", "flatness", "zero_crossings", "flux")


class ProsodyExtractor:
    """Analysis every 10 ms, averaged over each output row of `frame_shift_s`.

    Columns: MFCC 0..num_mfcc-1, log energy, pitch (semitones above 100 Hz, interpolated where unvoiced),
    voicing (share of voiced analysis frames), periodicity, spectral centroid, bandwidth and roll-off (kHz),
    log flatness, zero-crossing rate, log flux; then the spread of log energy and of voiced pitch inside the
    row; then the slope per row of MFCC, log energy and pitch. Row t covers the audio from t to t+1 times
    `frame_shift_s`.
    """

    name = "prosody"
    version = 1
    modality = "audio"
    deterministic = True
    start_s = 0.0

    def __init__(
        self,
        *,
        frame_shift_s: float,
        sample_rate_hz: int,
        num_mfcc: int,
        pitch_floor_hz: float,
        pitch_ceiling_hz: float,
    ) -> None:
        self.frame_shift_s = frame_shift_s
        self._rate, self._num_mfcc = sample_rate_hz, num_mfcc
        self._floor_hz, self._ceiling_hz = pitch_floor_hz, pitch_ceiling_hz
        self._librosa = _import_librosa()
        self._columns = _columns(num_mfcc)
        self.width = len(self._columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the D columns."""
        return self._columns

    def parameters(self) -> dict[str, object]:
        """The configuration, and the library whose numbers these are."""
        return {
            "frame_shift_s": self.frame_shift_s,
            "sample_rate_hz": self._rate,
            "num_mfcc": self._num_mfcc,
            "pitch_floor_hz": self._floor_hz,
            "pitch_ceiling_hz": self._ceiling_hz,
            "libraries": {"librosa": str(self._librosa.__version__)},
        }

    def weights(self) -> list[str]:
        """None: signal processing only."""
        return []

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Prosody of a clip, float32 [T, D] with T = ceil(duration / frame_shift_s).

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        return FeatureArray(self.analyse(decode_audio(clip, self._rate)), self.frame_shift_s)

    def analyse(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features [T, D] of mono samples at `sample_rate_hz`."""
        step = round(_STEP_S * self._rate)
        num_steps = max(1, -(-len(samples) // step))
        mfcc, energy, spectral = self._spectral(samples, step, num_steps)
        pitch, periodicity = self._pitch(samples, step, num_steps)
        voiced = (periodicity > _VOICED) & (energy > np.log(_SILENCE))
        per_row = round(self.frame_shift_s / _STEP_S)
        rows = _Rows(num_steps, per_row)
        mfcc_rows, energy_rows = rows.mean(mfcc), rows.mean(energy)
        share = rows.mean(voiced.astype(np.float64))
        pitch_rows = rows.mean(_fill(pitch, voiced))
        pitch_spread = rows.spread(pitch, voiced)
        slopes = [_slope(mfcc_rows), _slope(energy_rows), _slope(pitch_rows)]
        parts = [mfcc_rows, energy_rows, pitch_rows, share, rows.mean(periodicity), rows.mean(spectral)]
        parts += [rows.spread(energy, np.ones(num_steps, bool)), pitch_spread, *slopes]
        return np.column_stack(parts).astype(np.float32)

    def _spectral(
        self, samples: NDArray[np.float32], step: int, num_steps: int
    ) -> tuple[Track, Track, Track]:
        """MFCC [S, M], log energy [S] and the six spectral columns [S, 6]."""
        features = self._librosa.feature
        window = round(_WINDOW_S * self._rate)
        frames = _frame(samples, step, num_steps, window)
        magnitude = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T
        mels = features.melspectrogram(S=magnitude**2, sr=self._rate, n_fft=window, n_mels=_NUM_MELS)
        # Cepstra of natural-log energies over sqrt(mels), not of decibels: all columns stay within about 10.
        mfcc = features.mfcc(S=np.log(np.maximum(mels, _SILENCE**2)), n_mfcc=self._num_mfcc) / _NUM_MELS**0.5
        energy = np.log(np.maximum(np.sqrt(np.mean(frames**2, axis=1)), _SILENCE))
        level = magnitude.sum(0)
        flux = np.linalg.norm(np.diff(magnitude, axis=1, prepend=magnitude[:, :1]), axis=0)
        columns = [
            features.spectral_centroid(S=magnitude, sr=self._rate)[0] / 1000,
            features.spectral_bandwidth(S=magnitude, sr=self._rate)[0] / 1000,
            features.spectral_rolloff(S=magnitude, sr=self._rate)[0] / 1000,
            np.log(features.spectral_flatness(S=magnitude)[0] + _SILENCE),
            np.mean(np.diff(np.signbit(frames), axis=1), axis=1),
            np.log(flux / np.maximum(level, _SILENCE) + 1e-3),
        ]
        return mfcc.T, energy, np.column_stack(columns)

    def _pitch(self, samples: Samples, step: int, num_steps: int) -> tuple[Track, Track]:
        """Pitch in semitones, periodicity in 0..1; one a step (YIN; de Cheveigne and Kawahara 2002)."""
        window = _PERIODS * round(self._rate / self._floor_hz)
        frames = _frame(samples, step, num_steps, window)
        hertz = self._librosa.yin(
            frames.ravel(),
            fmin=self._floor_hz,
            fmax=self._ceiling_hz,
            sr=self._rate,
            frame_length=window,
            hop_length=window,
            center=False,
        )
        lag = np.clip(np.round(self._rate / hertz).astype(np.int64), 1, window - 2)
        return 12 * np.log2(hertz / _REFERENCE_HZ), _self_similarity(frames, lag)


def _columns(num_mfcc: int) -> tuple[str, ...]:
    mfcc = [f"mfcc{index}" for index in range(num_mfcc)]
    base = [*mfcc, "log_energy", "pitch_semitones", "voicing", "periodicity", *_SPECTRAL]
    slopes = [f"{name}_slope" for name in (*mfcc, "log_energy", "pitch_semitones")]
    return (*base, "log_energy_spread", "pitch_spread", *slopes)


class _Rows:
    """Groups of `per_row` analysis steps; the last group may be shorter."""

    def __init__(self, num_steps: int, per_row: int) -> None:
        self._starts = np.arange(0, num_steps, per_row)
        self._counts = np.diff(np.append(self._starts, num_steps))

    def mean(self, track: Track) -> Track:
        sums = np.add.reduceat(track, self._starts, axis=0)
        return np.asarray((sums.T / self._counts).T)

    def spread(self, track: Track, counted: NDArray[np.bool_]) -> Track:
        """Standard deviation within each row over the counted steps; 0 where none is."""
        share = np.maximum(self.mean(counted.astype(np.float64)), 1e-9)
        mean = self.mean(track * counted) / share
        square = self.mean(track**2 * counted) / share
        return np.asarray(np.sqrt(np.maximum(square - mean**2, 0)))


def _frame(samples: NDArray[np.float32], step: int, num_steps: int, window: int) -> Track:
    """Windows [S, window] centred on the middle of each step, silence beyond the ends."""
    before = (window - step) // 2
    padded = np.pad(samples.astype(np.float64), (before, window + step))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, window)[::step][:num_steps])


def _self_similarity(frames: Track, lag: NDArray[np.int64]) -> Track:
    """Correlation of each frame with itself `lag` samples later, clipped to 0..1."""
    index = np.arange(frames.shape[1])
    later = index + lag[:, None]
    inside = later < frames.shape[1]
    shifted = np.take_along_axis(frames, np.where(inside, later, 0), axis=1) * inside
    here = frames * inside
    product = (here * shifted).sum(1)
    scale = np.sqrt((here**2).sum(1) * (shifted**2).sum(1))
    return np.asarray(np.clip(product / np.maximum(scale, 1e-12), 0, 1))


def _fill(pitch: Track, voiced: NDArray[np.bool_]) -> Track:
    """Pitch with the unvoiced steps interpolated; 0 throughout where nothing is voiced."""
    if not voiced.any():
        return np.zeros_like(pitch)
    steps = np.arange(len(pitch))
    return np.asarray(np.interp(steps, steps[voiced], pitch[voiced]))


def _slope(track: Track) -> Track:
    """Central difference per row; 0 for a single row."""
    return np.gradient(track, axis=0) if len(track) > 1 else np.zeros_like(track)


def _import_librosa() -> Any:
    try:
        import librosa
    except ModuleNotFoundError as error:
        raise MissingExtraError("The extractor 'prosody'", error.name or "librosa", "extract") from error
    return librosa
