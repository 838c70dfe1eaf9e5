"""Media clips, and decoding them through PyAV.

Time is counted from the start of the container, so that audio and video frames of the same second
describe the same second even where a stream begins late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import MediaError, MissingExtraError
from msakit.extraction.media_limits import (
    OPEN_OPTIONS,
    check_audio_stream,
    check_num_samples,
    check_picture,
    check_times,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

_SLACK_S = 1e-4  # container timestamps are rounded; a frame due now may be stamped a little later


class AbsentModalityError(MediaError):
    """A readable clip without what a modality needs: the modality is absent, not damaged."""


class NoStreamError(AbsentModalityError):
    """A readable file without the stream asked for."""


class NoFaceError(AbsentModalityError):
    """A clip in none of whose frames a face was found."""

    def __init__(self, clip: MediaClip, num_frames: int) -> None:
        super().__init__(
            f"{clip.path}: a face in 0 % of {num_frames} frames", hint="Leave vision out for this file."
        )


def decode_audio(clip: MediaClip, sample_rate_hz: int) -> NDArray[np.float32]:
    """The clip's first audio stream as mono samples (the mean of its channels) in [-1, 1], resampled.

    Raises:
        NoStreamError: The file has no audio.
        MediaError: The file is missing, damaged, or has no samples in the segment.
    """
    start, end = clip.start_s or 0.0, clip.end_s
    with _open(clip) as (av, container):
        if not container.streams.audio:
            raise NoStreamError(f"{clip.path}: no audio stream", hint="Leave audio out for this file.")
        stream = container.streams.audio[0]
        check_audio_stream(clip, stream)
        check_num_samples(clip, _declared_samples(stream, start, end, sample_rate_hz), sample_rate_hz)
        resampler = av.AudioResampler(format="fltp", rate=sample_rate_hz)
        pieces: list[NDArray[np.float32]] = []
        offset: int | None = None
        num_samples = 0
        for frame, time_s in _frames(container, stream, start, end):
            if offset is None:
                offset = round((time_s - start) * sample_rate_hz)
                num_samples = max(0, offset)
            for piece in resampler.resample(frame):
                num_samples += piece.samples
                check_num_samples(clip, num_samples, sample_rate_hz)
                pieces.append(piece.to_ndarray().mean(0))
        pieces += [piece.to_ndarray().mean(0) for piece in resampler.resample(None)] if pieces else []
    check_num_samples(clip, num_samples, sample_rate_hz)
    samples = np.concatenate(pieces) if pieces else np.empty(0, np.float32)
    samples = _shift(samples, offset or 0)
    if end is not None:
        samples = samples[: round((end - start) * sample_rate_hz)]
    if not samples.size:
        raise MediaError(f"{clip.path}: no audio between {start} s and {end or 'its end'}", hint=_RANGE_HINT)
    return np.ascontiguousarray(samples, np.float32)


def decode_frames(clip: MediaClip, fps: float) -> Iterator[NDArray[np.uint8]]:
    """The clip's first video stream as upright RGB images [H, W, 3], `fps` a second.

    Image k is what a viewer sees at `start_s + k / fps`: the last frame that began by then.

    Raises:
        NoStreamError: The file has no video.
        MediaError: The file is missing, damaged, or has no frame in the segment.
    """
    start, end = clip.start_s or 0.0, clip.end_s
    due = 0
    shown: Any = None
    with _open(clip) as (av, container):
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise NoStreamError(f"{clip.path}: no video stream", hint="Leave vision out for this file.")
        check_picture(clip, streams[0].codec_context.width, streams[0].codec_context.height)
        last_s = start
        for frame, time_s in _frames(container, streams[0], start, end):
            check_picture(clip, frame.width, frame.height)
            check_times(clip, start, last_s, time_s)
            while shown is not None and start + due / fps < time_s - _SLACK_S:
                yield _upright(shown)
                due += 1
            shown, last_s = frame, time_s
        stop = last_s + 1 / float(streams[0].average_rate or fps)
        stop = stop if end is None else min(stop, end)
        while shown is not None and start + due / fps < stop - _SLACK_S:
            yield _upright(shown)
            due += 1
    if not due:
        raise MediaError(f"{clip.path}: no video between {start} s and {end or 'its end'}", hint=_RANGE_HINT)


_RANGE_HINT = "Check start_s and end_s against the file's length."


@contextmanager
def _open(clip: MediaClip) -> Iterator[tuple[Any, Any]]:
    """Yield PyAV and the opened container; what goes wrong inside while decoding becomes a MediaError."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtraError("decoding media", "av", "extract") from error
    if not clip.path.is_file():
        raise MediaError(
            f"{clip.path}: no such file", hint="Paths in a manifest are relative to the manifest."
        )
    try:
        with av.open(str(clip.path), options=dict(OPEN_OPTIONS)) as container:
            yield av, container
    except (av.error.FFmpegError, ValueError, ArithmeticError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(
            f"{clip.path}: cannot be decoded ({reason})", hint="Is the file complete?"
        ) from error


def _frames(container: Any, stream: Any, start_s: float, end_s: float | None) -> Iterator[tuple[Any, float]]:
    """Decoded frames of a stream that overlap the segment, with their times in seconds."""
    stream.thread_type = (
        "SLICE"  # frame threads would hold several frames more and cost start-up on short clips
    )
    origin = (container.start_time or 0) / 1_000_000
    if start_s > 0:
        container.seek(int((origin + start_s) * 1_000_000), backward=True)
    period = _frame_period(stream)
    pending: tuple[Any, float] | None = None
    count = 0
    for frame in container.decode(stream):
        time_s = frame.time - origin if frame.time is not None else count * period
        count += 1
        if end_s is not None and time_s >= end_s:
            break
        if time_s <= start_s + _SLACK_S:
            pending = (frame, time_s)  # the frame on show, or sounding, when the segment starts
            continue
        if pending is not None:
            yield pending
            pending = None
        yield frame, time_s
    if pending is not None:
        yield pending


def _declared_samples(stream: Any, start_s: float, end_s: float | None, sample_rate_hz: int) -> int:
    """How many samples the segment has by what the file says of its length; 0 where it says nothing."""
    if not stream.duration or not stream.time_base:
        return 0
    duration_s = float(stream.duration * stream.time_base)
    stop_s = duration_s if end_s is None else min(end_s, duration_s)
    return max(0, round((stop_s - start_s) * sample_rate_hz))


def _frame_period(stream: Any) -> float:
    if stream.type == "video":
        return 1 / float(stream.average_rate or 25)
    return float((stream.codec_context.frame_size or 1024) / (stream.codec_context.sample_rate or 1))


def _upright(frame: Any) -> NDArray[np.uint8]:
    """The image as it should be shown: telephones record sideways and note the rotation."""
    turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))


def _shift(samples: NDArray[np.float32], offset: int) -> NDArray[np.float32]:
    """Samples that begin `offset` after the segment does: silence in front, or the surplus cut."""
    if offset >= 0:
        return np.concatenate([np.zeros(offset, np.float32), samples])
    return samples[-offset:]
