"""What the page asks a run: an answer for a clip and its transcript, or the transcript of a clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msakit.core.errors import InputError, MediaError, MsakitError
from msakit.core.interfaces import MediaClip
from msakit.demo.drawing import answer_page, figures_page, introduction_page, problem_page
from msakit.extraction.extractors import licence_notices, make_transcriber
from msakit.extraction.segments import AT_PAUSES, Segmentation, cut_recordings
from msakit.extraction.transcription import transcribe_clip
from msakit.reports.diagnostic_figures import attention_maps
from msakit.workflows.explain import explain_clip, explain_text
from msakit.workflows.predict import MediaReader
from msakit.workflows.timeline import predict_recordings

if TYPE_CHECKING:
    from msakit.core.interfaces import Transcriber
    from msakit.core.registry.registry import Registry
    from msakit.workflows.load import TrainedRun


WHOLE = ""
CUTS = {
    "one answer for the whole": WHOLE,
    "an answer every 5 seconds": "5",
    "an answer every 20 seconds": "20",
    "an answer between pauses": AT_PAUSES,
}


class Respondent:
    """A loaded run that answers with HTML.

    Attributes:
        transcriber: Writes down what is said; None where it is not installed.
        silence: Why there is no transcriber; "" where there is one.

    Raises:
        InputError: A feature set of the run was imported, so media cannot be answered for.
    """

    def __init__(self, trained: TrainedRun, registry: Registry, transcriber: str = "whisper") -> None:
        self._trained = trained
        self._reader = MediaReader(trained, registry)
        self._notices = licence_notices(registry, self._reader.extractor_names)
        self.transcriber, self.silence = _transcriber(registry, transcriber)

    @property
    def title(self) -> str:
        """The run in a few words."""
        resolved = self._trained.resolved
        return f"{resolved.fuser.spec.short} on {resolved.backbone_spec.name}"

    @property
    def introduction(self) -> str:
        """What the run reads, what it answers, and what to know of it."""
        dataset = self._trained.resolved.dataset
        answers = (
            "scores from {:g} to {:g}".format(*dataset.label_range)
            if dataset.label_range
            else ", ".join(dataset.labels)
        )
        facts = [f"Reads {', '.join(self._trained.streams)}; answers: {answers}. Trained on {dataset.name}."]
        return introduction_page(self.title, [*facts, *self._notices], dataset.caution)

    def answer(self, media: str | None, text: str | None, cut: str = WHOLE) -> tuple[str, str]:
        """The answer, and the drawings that go with it: attention maps, or the timeline of a cut recording.

        Where something is wrong with what was given, that takes the answer's place.

        Args:
            media: A media file; None for a text alone.
            text: Its transcript; each segment of a recording that is cut is transcribed instead.
            cut: Seconds or "silence" to cut a long recording; WHOLE leaves it as it is.
        """
        try:
            said = (text or "").strip()
            return self._timeline(media, cut) if media and cut != WHOLE else self._answer(media, said)
        except MsakitError as error:
            return _problem(error, media), ""

    def _answer(self, media: str | None, text: str) -> tuple[str, str]:
        if not media and not text:
            raise InputError("There is nothing to answer for.", hint="Give a clip, a transcript, or both.")
        if media:
            found = explain_clip(self._trained, self._reader, _clip(media, text))
        else:
            found = explain_text(self._trained, text)
        view = found.view
        maps = attention_maps(view.maps, view.tokens, view.described, view.frame_shifts_s)
        answer = answer_page(found.response, found.without, self._label_range)
        return answer, figures_page("Where the fusion looked", maps)

    def _timeline(self, media: str, cut: str) -> tuple[str, str]:
        recordings = cut_recordings([_clip(media, "")], Segmentation.parse(cut))
        (timeline,) = predict_recordings(
            self._trained, self._reader, recordings, transcriber=self.transcriber
        )
        if timeline.whole.error:
            raise MediaError(timeline.whole.error)
        answer = answer_page(timeline.whole, {}, self._label_range)
        return answer, figures_page("Over time", [replace(timeline.figure(), title="")])

    @property
    def _label_range(self) -> tuple[float, float] | None:
        return self._trained.resolved.dataset.label_range

    def transcribe(self, media: str | None) -> tuple[str, str]:
        """What is said in a media file, and what is wrong with it; one of the two is empty."""
        try:
            if not media or self.transcriber is None:
                raise InputError("There is no clip to transcribe.", hint="Give one.")
            return transcribe_clip(_clip(media, ""), self.transcriber), ""
        except MsakitError as error:
            return "", _problem(error, media)


def _transcriber(registry: Registry, name: str) -> tuple[Transcriber | None, str]:
    try:
        return make_transcriber(registry, name, {}), ""
    except MsakitError as error:
        return None, str(error)


def _clip(media: str, text: str) -> MediaClip:
    return MediaClip(Path(media), Path(media).name, text)


def _problem(error: MsakitError, media: str | None) -> str:
    """The message, with the file's name in place of where the server keeps it."""
    message = error.message.replace(media, Path(media).name) if media else error.message
    return problem_page(message, error.hint)
