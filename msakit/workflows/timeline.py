"""Answers over the length of recordings: one for each segment, one for the whole."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.atomic import write_text_atomically
from msakit.core.errors import MediaError
from msakit.core.files import to_json
from msakit.core.interfaces import MediaClip
from msakit.extraction.extractors import make_transcriber
from msakit.extraction.segments import Segmentation, cut_recordings
from msakit.reports.timeline_figure import Course, timeline_figure
from msakit.workflows.predict import MediaReader, predict_clips
from msakit.workflows.responses import Response
from msakit.workflows.whole import answer_for_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from msakit.core.interfaces import Transcriber
    from msakit.core.registry.registry import Registry
    from msakit.extraction.segments import Recording
    from msakit.reports.figures import Figure
    from msakit.workflows.load import TrainedRun


@dataclass(frozen=True, slots=True)
class Timeline:
    """The answers for one recording.

    Attributes:
        recording: Its id.
        segments: An answer for each segment, in order; none where it could not be cut.
        whole: Their mean, each segment weighted by its length (`answer_for_whole`).
    """

    recording: str
    segments: list[Response]
    whole: Response

    @property
    def responses(self) -> list[Response]:
        """The segments' answers, then the whole's."""
        return [*self.segments, self.whole]

    def as_dict(self) -> dict[str, Any]:
        """The timeline as JSON types."""
        return asdict(self)

    def figure(self) -> Figure:
        """The score, or each class's probability, over time, with the words of each segment under it.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return timeline_figure(self.recording, _course(self))


def predict_recordings(
    trained: TrainedRun,
    reader: MediaReader,
    recordings: Sequence[Recording],
    *,
    transcriber: Transcriber | None = None,
    on_segment: Callable[[int], object] = lambda _: None,
) -> Iterator[Timeline]:
    """Answer for recordings, each as soon as its last segment is answered.

    Segments are answered in batches, across recordings; one that cannot be read gets a response that says
    why, and so does a recording that could not be cut.

    Args:
        trained: The loaded run.
        reader: Its extractors.
        recordings: What `cut_recordings` made of media.
        transcriber: Writes down what is said in each segment.
        on_segment: Called with the number of segments done after each batch.
    """
    clips = [segment for recording in recordings for segment in recording.segments]
    answered = predict_clips(trained, reader, clips, transcriber=transcriber, on_clip=on_segment)
    for recording in recordings:
        name = recording.clip.clip_id
        if recording.error:
            yield Timeline(name, [], Response(name, error=recording.error))
            continue
        segments = [
            replace(response, recording=name, start_s=segment.start_s, end_s=segment.end_s)
            for segment, response in zip(recording.segments, answered, strict=False)
        ]
        yield Timeline(name, segments, answer_for_whole(name, segments))


def predict_recording(
    trained: TrainedRun,
    registry: Registry,
    path: Path,
    segment: float | str,
    *,
    overlap: float = 0.0,
    transcribe: bool = False,
) -> Timeline:
    """Answer for each segment of one recording, and for the whole.

    Args:
        trained: The loaded run.
        registry: Where its extractors are looked up.
        path: The recording, however long.
        segment: Length of a segment in seconds, or "silence" to cut at pauses.
        overlap: Each segment begins that many seconds earlier.
        transcribe: Write down what is said in each segment (Whisper tiny.en).

    Raises:
        MediaError: The recording cannot be decoded, or none of its segments can be answered.
        InputError: It cannot be cut like that.
        MissingExtraError: What finds pauses or writes down is not installed.
    """
    recordings = cut_recordings([MediaClip(path, str(path))], Segmentation.parse(str(segment), overlap))
    transcriber = make_transcriber(registry, "whisper", {}) if transcribe else None
    reader = MediaReader(trained, registry)
    found = next(predict_recordings(trained, reader, recordings, transcriber=transcriber))
    if found.whole.error:
        raise MediaError(found.whole.error)
    return found


def stored_timelines(responses: Iterable[Response]) -> list[Timeline]:
    """Timelines of the recordings that stored segments were cut from; other samples are left out."""
    segments = sorted(
        (each for each in responses if each.recording), key=lambda each: (each.recording, each.start_s)
    )
    found = [(name, list(group)) for name, group in groupby(segments, key=lambda each: each.recording)]
    return [Timeline(name, group, answer_for_whole(name, group)) for name, group in found]


def write_timelines(folder: Path, timelines: Iterable[Timeline]) -> None:
    """Write each timeline as NAME.json and, where there are answers, as a picture NAME.svg.

    Args:
        folder: Where to; created if absent.
        timelines: What to write. NAME is the last part of a recording's id.

    Raises:
        MissingExtraError: matplotlib is not installed; all JSON is written.
        MsakitError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named: dict[str, Timeline] = {}
    for timeline in timelines:
        name = re.sub(r"[^\w.-]+", "_", Path(timeline.recording).name).strip("._") or "recording"
        number = next(number for number in count(1) if _numbered(name, number) not in named)
        named[_numbered(name, number)] = timeline
    for name, timeline in named.items():
        write_text_atomically(folder / f"{name}.json", to_json(timeline.as_dict()) + "\n")
    for name, timeline in named.items():
        if not timeline.whole.error:
            write_text_atomically(folder / f"{name}.svg", timeline.figure().svg)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _course(timeline: Timeline) -> Course:
    """What is drawn of a timeline."""
    whole, segments = timeline.whole, timeline.segments
    nan = float("nan")
    if not isinstance(whole.prediction, str):
        score = [nan if each.prediction is None else float(each.prediction) for each in segments]
        curves, means = {"score": score}, {"score": float(whole.prediction or 0.0)}
        scores = [float(name) for name in whole.probabilities]
        limits = (min(scores), max(scores)) if scores else None
    else:
        names = list(whole.probabilities) or sorted({str(each.prediction) for each in segments})
        curves = {name: [_chance(each, name) for each in segments] for name in names}
        means, limits = dict(whole.probabilities), (0.0, 1.0)
    bounds = [(each.start_s or 0.0, each.end_s or 0.0) for each in segments]
    return Course(bounds, curves, means, [each.text for each in segments], limits)


def _chance(response: Response, name: str) -> float:
    if response.prediction is None:
        return float("nan")
    return response.probabilities.get(name, float(response.prediction == name))
