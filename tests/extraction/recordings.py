"""Recordings of any length for tests: ten encoded seconds, repeated without encoding them again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from msakit.core.interfaces import MediaClip

FPS, RATE_HZ, PIECE_S = 5, 16_000, 10


def write_recording(path: Path, seconds: int) -> MediaClip:
    """An mp4 with a tone (louder each second of ten) and grey pictures (lighter each second of ten)."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt, video.gop_size = 64, 48, "yuv420p", FPS * 2
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        packets = [*_film(video), *_sound(audio)]
        for start in range(0, seconds, PIECE_S):
            for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
                container.mux(_later(packet, start))
    return MediaClip(path, path.stem)


def _film(stream):
    for index in range(PIECE_S * FPS):
        image = np.full((48, 64, 3), 20 * (index // FPS), np.uint8)
        yield from stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
    yield from stream.encode()


def _sound(stream):
    wave = np.sin(2 * np.pi * 220 * np.arange(RATE_HZ) / RATE_HZ)
    for second in range(PIECE_S):
        samples = (0.08 * second * wave * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, second * RATE_HZ, Fraction(1, RATE_HZ)
        yield from stream.encode(frame)
    # What the encoder holds back at the end would overlap the next repetition.


def _later(packet, seconds: int):
    """A copy of a packet, `seconds` later."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.duration = packet.stream, packet.time_base, packet.duration
    copy.is_keyframe = packet.is_keyframe
    shift = round(seconds / packet.time_base)
    copy.pts, copy.dts = packet.pts + shift, packet.dts + shift
    return copy
