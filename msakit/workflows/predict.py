"""From media to an answer: the extractors a run's features were made with, then its pipeline."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from msakit.core.errors import DataError, InputError, MediaError, UnknownNameError
from msakit.core.interfaces import MediaClip
from msakit.core.pipeline.batch import Batch
from msakit.core.tensors import Sequence
from msakit.evaluation.evaluate import tabulate
from msakit.extraction.extract import extractor_choice
from msakit.extraction.extractors import make_extractor
from msakit.extraction.pool import extract_clips
from msakit.extraction.segments import RECORDING
from msakit.extraction.sources import with_texts
from msakit.extraction.transcription import transcribe_clip
from msakit.samples.recipe import check_recipe
from msakit.workflows.responses import Response, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Sequence as Seq
    from pathlib import Path

    from numpy.typing import NDArray

    from msakit.core.interfaces import Extractor, Transcriber
    from msakit.core.registry.registry import Registry
    from msakit.extraction.pool import Computed
    from msakit.runs.predictions import Answer, Predictions
    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun


NO_TEXT = "no text: pass --text or --transcribe"


@dataclass(frozen=True, slots=True)
class Reading:
    """Clips read together.

    Attributes:
        batch: The clips that could be read, in their order; None where none could.
        errors: Clip to why it could not be read.
        notes: Clip to what makes its answer less reliable.
    """

    batch: Batch | None
    errors: dict[str, str]
    notes: dict[str, list[str]]


class MediaReader:
    """Makes batches of media files, with the extractors a run was trained on.

    Attributes:
        warnings: What differs from the run's own features and was allowed or is harmless.

    Raises:
        InputError: A feature set of the run was imported, so no extractor can make it again.
        DataError: An extractor, or its model, is no longer the run's, and `allow_drift` is not given.
    """

    def __init__(self, trained: TrainedRun, registry: Registry, *, allow_drift: bool = False) -> None:
        described = trained.run.read_json("features.json")
        config = trained.resolved.config
        self._features, self._with_text = config.features, config.prompt.text
        self._extractors: dict[str, Extractor] = {}
        self.warnings: list[str] = []
        for name in trained.resolved.encoders:
            recorded = described.get(name, {})
            extractor = self._extractors[name] = _extractor(name, recorded, registry)
            present = _recipe(extractor)
            self.warnings += check_recipe(name, recorded, present, what="media", allow=allow_drift)

    @property
    def extractor_names(self) -> list[str]:
        """Names of the extractors, for their licences."""
        return [extractor.name for extractor in self._extractors.values()]

    @property
    def frame_shifts_s(self) -> dict[str, float | None]:
        """Modality to seconds between frames; None where one row stands for the whole clip."""
        return {name: extractor.frame_shift_s for name, extractor in self._extractors.items()}

    def read(self, clips: Seq[MediaClip]) -> Reading:
        """Extract features of clips; a modality a clip lacks is absent, a clip that is damaged an error."""
        columns = {name: extract_clips(e, clips) for name, e in self._extractors.items()}
        errors: dict[str, str] = {}
        notes: dict[str, list[str]] = {clip.clip_id: [] for clip in clips}
        for name, column in columns.items():
            for clip, found in zip(clips, column, strict=True):
                if reason := self._refusal(found):
                    errors.setdefault(clip.clip_id, reason)
                notes[clip.clip_id] += _remarks(name, found)
        for clip in clips:
            if self._with_text and not clip.text:
                notes[clip.clip_id].append(NO_TEXT)
        kept = [at for at, clip in enumerate(clips) if clip.clip_id not in errors]
        batch = self._batch(clips, columns, kept) if kept else None
        return Reading(batch, errors, notes)

    def _refusal(self, found: Computed) -> str:
        """Why a clip cannot be answered; "" where it can."""
        if found.values is None:
            return "" if found.absent else found.reason
        num_bad = int((~np.isfinite(found.values)).sum())
        if num_bad and self._features.nonfinite != "zero":
            return f"{num_bad} NaN or infinite feature values"
        return ""

    def _batch(self, clips: Seq[MediaClip], columns: Mapping[str, list[Computed]], kept: list[int]) -> Batch:
        chosen = [clips[at] for at in kept]
        return Batch(
            ids=[clip.clip_id for clip in chosen],
            texts=[clip.text or None if self._with_text else None for clip in chosen],
            modalities={
                name: pad([self._prepared(name, column[at]) for at in kept], self._extractors[name].width)
                for name, column in columns.items()
            },
        )

    def _prepared(self, name: str, found: Computed) -> NDArray[np.float32]:
        """Features as the run's samples have them: cut, and without NaN; none where they are absent."""
        if found.values is None:
            return np.zeros((0, self._extractors[name].width), np.float32)
        values = found.values[: self._features.max_frames]
        return np.where(np.isfinite(values), values, np.float32(0))


def _remarks(modality: str, found: Computed) -> list[str]:
    reasons = [found.reason.rpartition(": ")[2]] if found.absent else []
    return [f"{modality}: {remark}" for remark in (*reasons, *found.notes)]


def _recipe(extractor: Extractor) -> dict[str, Any]:
    """How an extractor makes features, in the words of a run's features.json."""
    return {
        "extractor": f"{extractor.name}@{extractor.version}",
        "frame_shift_s": extractor.frame_shift_s,
        "parameters": json.loads(json.dumps(extractor.parameters())),
        "weights": list(extractor.weights()),
    }


def predict_clips(
    trained: TrainedRun,
    reader: MediaReader,
    clips: Seq[MediaClip],
    *,
    transcriber: Transcriber | None = None,
    on_clip: Callable[[int], object] = lambda _: None,
) -> Iterator[Response]:
    """Answer for clips, a batch at a time; one that cannot be read gets a response that says why.

    Args:
        trained: The loaded run.
        reader: Its extractors.
        clips: Of which files.
        transcriber: Writes down what is said in clips without a text.
        on_clip: Called with the number of clips done after each batch.
    """
    size = trained.resolved.config.training.evaluation_batch_size
    for start in range(0, len(clips), size):
        given = clips[start : start + size]
        known = given if transcriber is None else [_with_text(clip, transcriber) for clip in given]
        reading = reader.read(known)
        answered = {}
        if reading.batch is not None:
            answered = {each.id: each for each in respond_to(trained, reading.batch)}
        for before, clip in zip(given, known, strict=True):
            failed = Response(clip.clip_id, error=reading.errors.get(clip.clip_id, ""))
            response = answered.get(clip.clip_id, failed)
            by = transcriber.engine if transcriber and clip.text != before.text else ""
            yield replace(response, text=clip.text, text_by=by, notes=reading.notes[clip.clip_id])
        on_clip(len(given))


def _with_text(clip: MediaClip, transcriber: Transcriber) -> MediaClip:
    return clip if clip.text else replace(clip, text=transcribe_clip(clip, transcriber))


def predict_stored(
    trained: TrainedRun,
    samples: Samples,
    rows: NDArray[np.int64],
    on_sample: Callable[[int], object] = lambda _: None,
) -> Iterator[Response]:
    """Answer for stored samples, with or without labels, a batch at a time."""
    size = trained.resolved.config.training.evaluation_batch_size
    for chosen in samples.prefetched([rows[at : at + size] for at in range(0, len(rows), size)]):
        batch = samples.batch(chosen)
        for row, response, text in zip(chosen, respond_to(trained, batch), batch.texts, strict=True):
            yield replace(response, text=text or "", **_place(samples, int(row)))
        on_sample(len(chosen))


def _place(samples: Samples, row: int) -> dict[str, Any]:
    """Which recording a stored segment was cut from, and where; nothing for other samples."""
    recordings = samples.table.extra.get(RECORDING)
    if recordings is None or not recordings[row]:
        return {}
    start, end = (float(times[row]) for times in (samples.table.start_s, samples.table.end_s))
    return {"recording": recordings[row], "start_s": start, "end_s": end}


def respond_to(trained: TrainedRun, batch: Batch) -> list[Response]:
    """Responses for every sample of a batch, decoding as the run's pipeline says."""
    return respond(_table(trained, batch), trained.pipeline.answers.values)


def predict_media(
    trained: TrainedRun,
    registry: Registry,
    paths: Seq[Path],
    texts: Seq[str] = (),
) -> list[Answer]:
    """Answer for media files, or for texts alone where there is no file.

    Args:
        trained: The loaded run.
        registry: Where its extractors are looked up.
        paths: Media files; may be empty.
        texts: What is said: once for all files, once for each, or the samples themselves without files.

    Raises:
        InputError: There is nothing to answer, or the number of texts does not match.
        MediaError: A file cannot be decoded.
    """
    if not paths and not texts:
        raise InputError("There is nothing to predict.", hint="Give media files, or a text.")
    if not paths:
        widths = trained.run.widths()
        return [answer for text in texts for answer in _table(trained, text_batch(text, widths)).rows()]
    reader = MediaReader(trained, registry)
    answers: list[Answer] = []
    for clip in with_texts([MediaClip(path, str(path)) for path in paths], texts):
        reading = reader.read([clip])
        if reading.batch is None:
            raise MediaError(next(iter(reading.errors.values())))
        answers += _table(trained, reading.batch).rows()
    return answers


def _table(trained: TrainedRun, batch: Batch) -> Predictions:
    generate = trained.resolved.config.answers.decode == "generate"
    prediction = trained.pipeline.predict(batch.to(trained.pipeline.device), generate=generate)
    return tabulate(batch, prediction, trained.pipeline, trained.resolved.dataset)


def _extractor(modality: str, described: Mapping[str, Any], registry: Registry) -> Extractor:
    name = str(described.get("extractor", ""))
    try:
        extractor = make_extractor(registry, *extractor_choice(name, described.get("parameters", {})))
    except UnknownNameError as error:
        raise InputError(
            f"The run's {modality} features were made by '{name}', which is not an extractor here.",
            hint="Predict stored samples with --id, or train on features that msakit extract makes.",
        ) from error
    if extractor.width != described["width"]:
        raise DataError(
            f"The extractor '{name}' gives {extractor.width} {modality} features, "
            f"but the run was trained on {described['width']}."
        )
    return extractor


def pad(arrays: Seq[NDArray[np.float32]], width: int) -> Sequence:
    """Feature arrays [T, D] as one padded batch [B, T, D]; an empty array is an absent modality."""
    lengths = torch.tensor([len(array) for array in arrays])
    values = torch.zeros(len(arrays), max(1, int(lengths.max())), width)
    for row, array in enumerate(arrays):
        values[row, : len(array)] = torch.from_numpy(array)
    return Sequence(values, lengths)


def text_batch(text: str, widths: Mapping[str, int]) -> Batch:
    """One sample of text alone; every modality is absent."""
    absent = {name: pad([np.zeros((0, width), np.float32)], width) for name, width in widths.items()}
    return Batch([text], [text], absent)
