"""One clip through a run with what its answer rests on: the answers with each stream left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msakit.core.errors import InputError, MediaError
from msakit.workflows.predict import respond_to, text_batch
from msakit.workflows.responses import Response, respond
from msakit.workflows.sample_view import SampleView, view_batch

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip
    from msakit.core.pipeline.batch import Batch
    from msakit.workflows.load import TrainedRun
    from msakit.workflows.predict import MediaReader


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer and what it rests on.

    Attributes:
        response: The answer for the whole clip.
        without: Stream ("text" or a modality) to the answer with it left out; streams that are there only,
            and none where there is but one.
        view: What the fuser shows of the clip.
    """

    response: Response
    without: dict[str, Response]
    view: SampleView


def explain_clip(trained: TrainedRun, reader: MediaReader, clip: MediaClip) -> Explanation:
    """Answer for a media file.

    Raises:
        MediaError: It cannot be decoded.
    """
    reading = reader.read([clip])
    if reading.batch is None:
        raise MediaError(reading.errors[clip.clip_id])
    return _explain(trained, reading.batch, reader.frame_shifts_s, reading.notes[clip.clip_id])


def explain_text(trained: TrainedRun, text: str) -> Explanation:
    """Answer for a text alone.

    Raises:
        InputError: The run does not read text.
    """
    if "text" not in trained.streams:
        raise InputError("This run does not read text.", hint="Give a video or a recording.")
    return _explain(trained, text_batch(text, trained.run.widths()), {}, [])


def _explain(
    trained: TrainedRun, batch: Batch, frame_shifts_s: dict[str, float | None], notes: list[str]
) -> Explanation:
    view = view_batch(trained, batch, frame_shifts_s)
    (response,) = respond(view.predictions, trained.pipeline.answers.values)
    present = [name for name in trained.streams if name not in response.absent]
    without = {name: respond_to(trained, batch.without(name))[0] for name in present if len(present) > 1}
    return Explanation(
        response=replace(response, text=batch.texts[0] or "", notes=notes),
        without=without,
        view=view,
    )
