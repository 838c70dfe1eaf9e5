"""A folder of media as people really have them: most of them broken, odd, or not what their name says."""

from __future__ import annotations

import os
import shutil
import wave
from pathlib import Path

import av
import numpy as np
from plugins.extractors.sounds import write_tone

CLIP = Path(__file__).parents[2] / "examples/clips/movie05708.mp4"
BROKEN = {
    "empty": "no audio between",
    "text": "cannot be decoded",
    "truncated": "cannot be decoded",
}
"""Id to what is said of it."""
SOUND = {"eight", "hours", "named_mp4", "six", "odd\\xff"}
"""Whole, but without a picture."""
SILENT = {"single"}
"""Whole, but without sound."""


def write_bad_media(folder: Path) -> Path:
    """Write a whole clip, `good`, and among it the broken, the odd and the wrongly named."""
    folder.mkdir()
    shutil.copy(CLIP, folder / "good.mp4")
    (folder / "truncated.mp4").write_bytes(CLIP.read_bytes()[: CLIP.stat().st_size // 3])
    (folder / "text.mp4").write_text("once upon a time\n" * 100)
    write_tone(folder / "empty.wav", seconds=0)
    header = bytearray(write_tone(folder / "hours.wav", seconds=1).path.read_bytes())
    header[40:44] = (10 * 3600 * 32_000).to_bytes(4, "little")
    (folder / "hours.wav").write_bytes(header)  # lasts a second, whatever it claims
    write_tone(folder / "a.wav", seconds=1).path.rename(folder / "named_mp4.mp4")
    write_tone(folder / "b.wav", seconds=1).path.rename(folder / os.fsdecode(b"odd\xff.wav"))
    _write_wave(folder / "eight.wav", 8_000, 1)
    _write_wave(folder / "six.wav", 96_000, 6)
    with av.open(str(folder / "single.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
        container.mux([*stream.encode(image), *stream.encode()])
    return folder


def _write_wave(path: Path, rate_hz: int, channels: int) -> None:
    samples = 0.5 * np.sin(2 * np.pi * 220 * np.arange(rate_hz) / rate_hz)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat((samples * 32767).astype("<i2"), channels).tobytes())
