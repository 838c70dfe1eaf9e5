"""Speakers: one synthetic voice and one avatar made many people by pitch, formants, tempo and looks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from examples.demo_corpus.avatar import Look

_SKINS = ((152, 180, 226), (120, 152, 204), (96, 126, 182), (72, 98, 150), (60, 80, 122), (170, 196, 236))
_HAIRS = ((28, 32, 40), (30, 46, 72), (48, 78, 118), (70, 118, 158), (34, 40, 92), (120, 122, 126))
_IRISES = ((120, 88, 48), (60, 92, 70), (24, 44, 78), (90, 100, 96))


@dataclass(frozen=True)
class Speaker:
    """A constructed person; the voice fields feed Praat's "Change gender" command."""

    pitch_hz: float
    formant_ratio: float
    tempo: float
    pitch_range: float
    level_db: float
    smile: float
    frown: float
    look: Look


def make_speaker(name: str) -> Speaker:
    """The speaker of that name; the name alone decides everything about them."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    height = rng.uniform()
    look = Look(
        skin=_pick(_SKINS, rng),
        hair=_pick(_HAIRS, rng),
        lips=(rng.uniform(70, 110), rng.uniform(70, 105), rng.uniform(150, 200)),
        iris=_pick(_IRISES, rng),
        background=(rng.uniform(90, 225), rng.uniform(90, 225), rng.uniform(90, 225)),
        width=rng.uniform(0.93, 1.07),
        height=rng.uniform(0.95, 1.05),
        brow_thickness=rng.uniform(0.8, 1.4),
        light_x=rng.uniform(-0.6, 0.6),
    )
    return Speaker(
        pitch_hz=float(90 * (210 / 90) ** height),
        formant_ratio=float(0.92 + 0.25 * height + rng.uniform(-0.02, 0.02)),
        tempo=rng.uniform(0.92, 1.1),
        pitch_range=rng.uniform(0.85, 1.2),
        level_db=rng.uniform(-3, 3),
        smile=rng.uniform(0.0, 0.35),
        frown=rng.uniform(0.0, 0.3),
        look=look,
    )


def _pick(choices: tuple[tuple[int, int, int], ...], rng: np.random.Generator) -> tuple[float, float, float]:
    base = np.array(choices[rng.integers(len(choices))], float) * rng.uniform(0.93, 1.07)
    blue, green, red = np.clip(base, 0, 255)
    return float(blue), float(green), float(red)
