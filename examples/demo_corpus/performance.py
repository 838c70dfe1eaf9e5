"""Face: action units and head pose over time, driven by the speech and marked by the delivery.

Everyone blinks, sways, flashes their brows now and then and smiles or frowns a little, whatever they say; an
ironic face adds raised brows, narrowed eyes, a smirk (dimpler) and a tilted head, none of which is unknown
in sincere faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.demo_corpus.speaker import Speaker

Array = NDArray[np.float64]
_BLINK_S = 0.16
_MARKER = {"AU01": 0.6, "AU02": 0.9, "AU07": 0.5, "AU14": 0.7, "AU12": 0.2}
_TILT_DEG = 5.0


@dataclass(frozen=True)
class Performance:
    """Action units [F, 20], rotation [F, 3] in degrees, shift [F, 2] in half face heights."""

    units: Array
    rotation_deg: Array
    shift: Array


def perform(
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    fps: int,
    speaker: Speaker,
    strength: float,
    names: Sequence[str],
    rng: np.random.Generator,
) -> Performance:
    """The face that goes with a waveform; `strength` 0 is sincere, 1 the fullest ironic marker."""
    num_frames = max(2, round(len(samples) / sample_rate_hz * fps))
    times = np.arange(num_frames) / fps
    mouth = _envelope(samples, num_frames)
    tracks: dict[str, Array] = {name: np.zeros(num_frames) for name in names}
    tracks["AU25"] += 1.1 * mouth
    tracks["AU26"] += 0.9 * mouth - 0.12
    tracks["AU20"] += 0.3 * mouth * _drift(times, rng)
    tracks["AU43"] += _blinks(times, rng)
    raised = rng.uniform(0, 0.5) + 0.9 * _events(times, 0.5, 0.25, rng)
    tracks["AU01"] += raised
    tracks["AU02"] += raised
    tracks["AU12"] += speaker.smile + rng.uniform(0, 0.5) + 0.1 * _drift(times, rng)
    tracks["AU04"] += speaker.frown + rng.uniform(0, 0.5)
    tracks["AU14"] += rng.uniform(0, 0.25)
    tracks["AU07"] += rng.uniform(0, 0.3)
    onset = 1 / (1 + np.exp(-(times - rng.uniform(0.1, 0.5)) / 0.08))
    for name, size in _MARKER.items():
        tracks[name] += strength * size * onset
    tilt = rng.choice([-1.0, 1.0]) * strength * _TILT_DEG * onset
    sway = [rng.uniform(1.5, 3.5) * _drift(times, rng) + rng.uniform(-2.5, 2.5) for _ in range(3)]
    rotation = np.stack([sway[0] + 3 * mouth, 1.6 * sway[1], sway[2] + tilt], axis=1)
    shift = 0.03 * np.stack([_drift(times, rng), _drift(times, rng)], axis=1)
    return Performance(np.stack([tracks[name] for name in names], axis=1), rotation, shift)


def _envelope(samples: NDArray[np.float32], num_frames: int) -> Array:
    """Loudness per frame in 0..1, slightly smoothed so that the mouth does not chatter."""
    pieces = np.array_split(samples.astype(np.float64), num_frames)
    level = np.array([np.sqrt(np.mean(piece**2)) for piece in pieces])
    level = np.clip(level / (np.percentile(level, 95) + 1e-9), 0, 1) ** 0.7
    return np.convolve(np.pad(level, 1, mode="edge"), (0.2, 0.6, 0.2), mode="valid")


def _drift(times: Array, rng: np.random.Generator) -> Array:
    """A slow wander in about -1..1: three sines of random phase."""
    rates, phases = rng.uniform(0.1, 0.6, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.asarray(np.sin(2 * np.pi * np.outer(times, rates) + phases).mean(1) * 1.5)


def _events(times: Array, rate_hz: float, width_s: float, rng: np.random.Generator) -> Array:
    """Bumps of about `width_s` at random moments, `rate_hz` of them a second."""
    centres = rng.uniform(0, times[-1] + 0.01, rng.poisson(rate_hz * times[-1]))
    return np.exp(-(((times[:, None] - centres) / (width_s / 2)) ** 2)).sum(1).clip(0, 1)


def _blinks(times: Array, rng: np.random.Generator) -> Array:
    return 1.2 * _events(times, 0.35, _BLINK_S, rng)
