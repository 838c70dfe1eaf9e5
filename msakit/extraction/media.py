"""Media clips, and decoding them through PyAV.

Time is counted from the start of the container, so that audio and video frames of the same second
describe the same second even where a stream begins late.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import MediaError, MissingExtraError
from msakit.extraction.media_limits import (
    OPEN_OPTIONS,
    check_audio_stream,
    check_length,
    check_num_samples,
    check_picture,
    check_times,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from msakit.core.interfaces import MediaClip

_GAP_S = 0.1  # time stamps jitter by less than that; more is a pause in the stream
_WARM_UP_S = 0.5  # what MP3, AAC and Opus need to decode before a frame sounds as it does in the whole
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
    pieces: list[NDArray[np.float32]] = []
    num_samples = 0
    with _open(clip) as (av, container):
        stream = _audio_stream(clip, container)
        declared = _declared_samples(stream, clip.start_s or 0.0, clip.end_s, sample_rate_hz)
        check_num_samples(clip, declared, sample_rate_hz)
        for piece in _mono(av, container, stream, clip, sample_rate_hz):
            num_samples += len(piece)
            check_num_samples(clip, num_samples, sample_rate_hz)
            pieces.append(piece)
    return np.ascontiguousarray(np.concatenate(pieces), np.float32)


def audio_pieces(clip: MediaClip, sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """The samples of `decode_audio` piece by piece, of recordings however long.

    Raises:
        NoStreamError: The file has no audio.
        MediaError: The file is missing, damaged, or has no samples in the segment.
    """
    with _open(clip) as (av, container):
        yield from _mono(av, container, _audio_stream(clip, container), clip, sample_rate_hz)


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
        streams = _video_streams(av, container)
        if not streams:
            raise NoStreamError(f"{clip.path}: no video stream", hint="Leave vision out for this file.")
        stream = streams[0]
        check_picture(clip, stream.codec_context.width, stream.codec_context.height)
        last_s = start
        for frame, time_s in _frames(container, stream, start, end):
            check_picture(clip, frame.width, frame.height)
            check_times(clip, start, last_s, time_s)
            while shown is not None and start + due / fps < time_s - _SLACK_S:
                yield _upright(shown)
                due += 1
            shown, last_s = frame, time_s
        stop = last_s + 1 / float(stream.average_rate or fps)
        stop = stop if end is None else min(stop, end)
        while shown is not None and start + due / fps < stop - _SLACK_S:
            yield _upright(shown)
            due += 1
        if not due:
            raise _empty(clip, container, stream)


def measure(clip: MediaClip) -> tuple[float, float]:
    """Where a clip begins and ends in its file, in seconds.

    Read off the packets, without decoding: headers may be silent about the length, or lie.

    Raises:
        NoStreamError: The file has neither sound nor video.
        MediaError: The file is missing or damaged, ends before the clip begins, or claims days.
    """
    start = clip.start_s or 0.0
    with _open(clip) as (av, container):
        streams = [*container.streams.audio, *_video_streams(av, container)]
        if not streams:
            raise NoStreamError(f"{clip.path}: neither sound nor video")
        ends = {stream.index: 0.0 for stream in streams}
        for packet in container.demux(streams):
            if packet.size:
                index = packet.stream.index
                ends[index] = max(ends[index], _packet_end(packet, ends[index], _origin(container)))
    end = min(max(ends.values()), math.inf if clip.end_s is None else clip.end_s)
    if end <= start:
        raise MediaError(f"{clip.path}: it ends before {start} s", hint=_RANGE_HINT)
    check_length(clip, end - start)
    return start, end


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


def _origin(container: Any) -> float:
    """The container's own time of second 0."""
    return (container.start_time or 0) / 1_000_000


def _packet_end(packet: Any, before_s: float, origin: float) -> float:
    """When a packet is over; after what came before it where it bears no time."""
    length_s = float(packet.duration * packet.time_base) if packet.duration else _frame_period(packet.stream)
    return length_s + (before_s if packet.pts is None else float(packet.pts * packet.time_base) - origin)


def _video_streams(av: Any, container: Any) -> list[Any]:
    """Streams of video; a cover picture is none."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def _audio_stream(clip: MediaClip, container: Any) -> Any:
    if not container.streams.audio:
        raise NoStreamError(f"{clip.path}: no audio stream", hint="Leave audio out for this file.")
    check_audio_stream(clip, container.streams.audio[0])
    return container.streams.audio[0]


def _empty(clip: MediaClip, container: Any, stream: Any) -> MediaError:
    """Why a segment holds nothing: the stream is over while another goes on, or the file is too short."""
    start = clip.start_s or 0.0
    stop = "its end" if clip.end_s is None else f"{clip.end_s} s"
    problem = f"{clip.path}: no {stream.type} between {start} s and {stop}"
    goes_on = container.duration is not None and container.duration / 1_000_000 > start
    if goes_on and stream.duration and float(stream.duration * stream.time_base) <= start:
        return AbsentModalityError(problem)
    return MediaError(problem, hint=_RANGE_HINT)


def _mono(
    av: Any, container: Any, stream: Any, clip: MediaClip, sample_rate_hz: int
) -> Iterator[NDArray[np.float32]]:
    """The clip's samples piece by piece: the mean of the channels, and silence where the stream pauses."""
    start, end = clip.start_s or 0.0, clip.end_s
    stop = sys.maxsize if end is None else round((end - start) * sample_rate_hz)
    position: int | None = None  # of the next sample; the clip begins with sample 0
    slack, is_empty = 0, True
    for time_s, samples in _resampled(av, container, stream, clip, sample_rate_hz):
        due = round((time_s - start) * sample_rate_hz)
        position = min(due, 0) if position is None else position
        if (gap := due - position) > slack:
            check_num_samples(clip, gap, sample_rate_hz)
            samples = np.concatenate([np.zeros(gap, np.float32), samples])
        slack = round(_GAP_S * sample_rate_hz)
        heard = samples[max(0, -position) : max(0, stop - position)]
        position += len(samples)
        if heard.size:
            is_empty = False
            yield heard
    if is_empty:
        raise _empty(clip, container, stream)


def _resampled(
    av: Any, container: Any, stream: Any, clip: MediaClip, sample_rate_hz: int
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Each frame's time in seconds and its samples, mixed down; what the resampler held back comes last."""
    resampler = av.AudioResampler(format="fltp", rate=sample_rate_hz)
    time_s: float | None = None
    for frame, time_s in _frames(container, stream, clip.start_s or 0.0, clip.end_s):
        yield time_s, _mixed(resampler.resample(frame))
    if time_s is not None:
        yield time_s, _mixed(resampler.resample(None))


def _mixed(pieces: Sequence[Any]) -> NDArray[np.float32]:
    return np.concatenate([np.empty(0, np.float32), *(piece.to_ndarray().mean(0) for piece in pieces)])


def _frames(container: Any, stream: Any, start_s: float, end_s: float | None) -> Iterator[tuple[Any, float]]:
    """Decoded frames of a stream that overlap the segment, with their times in seconds."""
    stream.thread_type = (
        "SLICE"  # frame threads would hold several frames more and cost start-up on short clips
    )
    origin = _origin(container)
    if start_s > 0:
        ahead_s = _WARM_UP_S if stream.type == "audio" else 0.0
        container.seek(int((origin + max(0.0, start_s - ahead_s)) * 1_000_000), backward=True)
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
