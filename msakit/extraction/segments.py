"""Long recordings cut into segments, by a clock or at pauses.

A segment is a clip like any other: each is decoded by itself, so memory is bounded by the segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msakit.core.errors import InputError, MediaError
from msakit.extraction.media import measure

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip
    from msakit.extraction.manifest import ManifestRow

AT_PAUSES = "silence"
RECORDING = "recording"
"""Column of a dataset: the id of the recording a segment was cut from."""

SHORTEST_S = 0.5
_HINT = "Give --segment SECONDS, or --segment silence to cut at pauses."


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How recordings are cut.

    Attributes:
        length_s: Length of a segment in seconds; None cuts at pauses. What is left at the end joins the
            last segment if it is shorter than half of one.
        overlap_s: Each segment begins that much earlier, inside the one before (or in the pause).

    Raises:
        InputError: Segments would be too short, or would not get on.
    """

    length_s: float | None = None
    overlap_s: float = 0.0

    def __post_init__(self) -> None:
        """Check it."""
        if self.length_s is not None and not SHORTEST_S <= self.length_s < float("inf"):
            msg = f"Segments of {self.length_s:g} s are too short; {SHORTEST_S} s is the least."
            raise InputError(msg, hint=_HINT)
        if not 0 <= self.overlap_s <= (self.length_s or float("inf")) / 2:
            msg = f"An overlap of {self.overlap_s:g} s is not between 0 and half a segment."
            raise InputError(msg, hint="Give --overlap SECONDS.")

    @classmethod
    def parse(cls, text: str, overlap_s: float = 0.0) -> Segmentation:
        """Read "10" or "silence".

        Raises:
            InputError: It is neither.
        """
        try:
            return cls(None if text == AT_PAUSES else float(text), overlap_s)
        except ValueError as error:
            raise InputError(f"Segments of '{text}': a number of seconds is expected.", hint=_HINT) from error


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording and what it was cut into.

    Attributes:
        clip: The whole.
        segments: Its parts in order, with start and end.
        error: Why it could not be cut; "" where it was.
    """

    clip: MediaClip
    segments: tuple[MediaClip, ...] = ()
    error: str = ""


def cut_recordings(
    clips: Iterable[MediaClip],
    segmentation: Segmentation,
    on_clip: Callable[[str], object] = lambda _: None,
) -> list[Recording]:
    """Cut each recording; one that cannot be cut says why and does not disturb the others.

    A text belongs to the whole recording, so its segments have none unless there is only one.

    Args:
        clips: The recordings, or stretches of them.
        segmentation: Where to cut.
        on_clip: Called with a recording's id once it is cut.

    Raises:
        MissingExtraError: What finds pauses is not installed.
    """
    recordings = []
    for clip in clips:
        try:
            recordings.append(_cut(clip, segmentation))
        except MediaError as error:
            recordings.append(Recording(clip, error=error.message))
        on_clip(clip.clip_id)
    return recordings


def cut_rows(
    rows: Sequence[ManifestRow],
    segmentation: Segmentation,
    on_clip: Callable[[str], object] = lambda _: None,
) -> tuple[list[ManifestRow], list[Recording]]:
    """The rows of a manifest cut into rows of segments, and the recordings that could not be cut.

    A segment keeps its row's split, label, speaker and further columns, and names its recording. Segments
    of a row that belongs to no dialogue make up one.

    Raises:
        InputError: A column has the name of the one that is added.
        MissingExtraError: What finds pauses is not installed.
    """
    if any(RECORDING in row.extra for row in rows):
        msg = f"The manifest's column '{RECORDING}' is one that cutting fills."
        raise InputError(msg, hint="Give it another name.")
    recordings = cut_recordings((row.clip for row in rows), segmentation, on_clip)
    segments = [
        replace(
            row,
            id=segment.clip_id,
            text=segment.text,
            start_s=segment.start_s or 0.0,
            end_s=segment.end_s or math.nan,
            dialogue=row.dialogue or row.id,
            utterance=row.utterance if row.dialogue else index,
            extra={**row.extra, RECORDING: row.id},
        )
        for row, recording in zip(rows, recordings, strict=True)
        for index, segment in enumerate(recording.segments)
    ]
    return segments, [recording for recording in recordings if recording.error]


def _cut(clip: MediaClip, segmentation: Segmentation) -> Recording:
    start, end = measure(clip)
    if segmentation.length_s is None:
        from msakit.extraction.speech import speech_stretches

        bounds = speech_stretches(clip)
        if not bounds:
            raise MediaError(f"{clip.path}: nobody speaks in it, so there are no pauses to cut at")
    else:
        bounds = _by_clock(start, end, segmentation.length_s, segmentation.overlap_s)
    earlier = 0.0 if segmentation.length_s else segmentation.overlap_s
    text = clip.text if len(bounds) == 1 else ""
    segments = (_segment(clip, max(start, first - earlier), min(last, end), text) for first, last in bounds)
    return Recording(clip, tuple(segments))


def _by_clock(start: float, end: float, length_s: float, overlap_s: float) -> list[tuple[float, float]]:
    step = length_s - overlap_s
    count = max(1, math.floor((end - start - overlap_s) / step + 0.5))
    firsts = [start + index * step for index in range(count)]
    return [(first, first + length_s) for first in firsts[:-1]] + [(firsts[-1], end)]


def _segment(clip: MediaClip, start: float, end: float, text: str) -> MediaClip:
    """A part of a clip, named after it and its seconds."""
    start, end = round(start, 3), round(end, 3)
    name = f"{clip.clip_id}#{start:.2f}-{end:.2f}"
    return replace(clip, clip_id=name, start_s=start, end_s=end, text=text)
