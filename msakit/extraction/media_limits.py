"""Limits on decoding a clip: formats that name no other file, and bounds of length, size and rate.

A few bytes of media can stand for days of silence, frames as large as memory, or a list of other files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msakit.core.errors import MediaError

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip

MAX_SAMPLES = 1 << 26  # 70 minutes at 16 kHz, 256 MB
MAX_VIDEO_S = 3600.0
MAX_STILL_S = 60.0
MAX_RECORDING_S = 86_400.0
MAX_PIXELS = 1 << 25
MIN_RATE_HZ = 1000
# Playlists (concat, hls, dash, image sequences) are left out: they open other files and addresses.
FORMATS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dv", "eac3", "flac", "flv", "gif", "h264",
    "hevc", "ivf", "m4v", "matroska", "mov", "mp3", "mpeg", "mpegts", "mpegvideo", "ogg", "rm", "tta", "w64",
    "wav", "webm", "wv",
)  # fmt: skip
OPEN_OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}

_CUT_HINT = "Cut the clip, or give start_s and end_s."


def check_audio_stream(clip: MediaClip, stream: Any) -> None:
    """Refuse a rate that is no sound's; resampling would blow it up.

    Raises:
        MediaError: It is lower than `MIN_RATE_HZ`.
    """
    rate = stream.codec_context.sample_rate or 0
    if rate < MIN_RATE_HZ:
        raise MediaError(f"{clip.path}: sound of {rate} Hz, less than {MIN_RATE_HZ:,} Hz", hint=_DAMAGED_HINT)


def check_num_samples(clip: MediaClip, num_samples: int, sample_rate_hz: int) -> None:
    """Refuse more sound, silence before it included, than a clip has.

    Raises:
        MediaError: There are more than `MAX_SAMPLES`.
    """
    if num_samples > MAX_SAMPLES:
        minutes = MAX_SAMPLES / sample_rate_hz / 60
        raise MediaError(f"{clip.path}: more than {minutes:,.0f} minutes of sound", hint=_CUT_HINT)


def check_length(clip: MediaClip, seconds: float) -> None:
    """Refuse a recording longer than anybody's, whose segments would be without number.

    Raises:
        MediaError: It is longer than `MAX_RECORDING_S`.
    """
    if seconds > MAX_RECORDING_S:
        raise MediaError(f"{clip.path}: claims {seconds / 3600:,.0f} hours", hint=_DAMAGED_HINT)


def check_picture(clip: MediaClip, width: int, height: int) -> None:
    """Refuse pictures that no camera takes.

    Raises:
        MediaError: One has more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise MediaError(f"{clip.path}: pictures of {width} x {height} pixels are too large", hint=_CUT_HINT)


def check_times(clip: MediaClip, start_s: float, last_s: float, time_s: float) -> None:
    """Refuse video that is too long, or stands still too long to be one.

    Raises:
        MediaError: A frame comes more than `MAX_VIDEO_S` after the start or `MAX_STILL_S` after the last.
    """
    if time_s - start_s > MAX_VIDEO_S:
        raise MediaError(f"{clip.path}: more than {MAX_VIDEO_S / 60:.0f} minutes of video", hint=_CUT_HINT)
    if time_s - last_s > MAX_STILL_S:
        raise MediaError(f"{clip.path}: {time_s - last_s:,.0f} s between two frames", hint=_DAMAGED_HINT)


_DAMAGED_HINT = "Is the file damaged?"
