"""From media to an answer: the extractors a run's features were made with, then its pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from msakit.core.errors import DataError, InputError, UnknownNameError
from msakit.core.interfaces import MediaClip
from msakit.core.pipeline.batch import Batch
from msakit.core.tensors import Sequence
from msakit.evaluation.evaluate import tabulate
from msakit.extraction.extract import extractor_choice
from msakit.extraction.extractors import make_extractor
from msakit.extraction.media import AbsentModalityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Sequence as Seq
    from pathlib import Path

    from numpy.typing import NDArray

    from msakit.core.interfaces import Extractor
    from msakit.core.registry.registry import Registry
    from msakit.runs.predictions import Answer
    from msakit.workflows.load import TrainedRun


class MediaReader:
    """Makes batches of media files, with the extractors a run was trained on.

    Raises:
        InputError: A feature set of the run was imported, so no extractor can make it again.
    """

    def __init__(self, trained: TrainedRun, registry: Registry) -> None:
        described = trained.run.read_json("features.json")
        self._extractors = {
            name: _extractor(name, described.get(name, {}), registry) for name in trained.resolved.encoders
        }

    def read(self, clips: Seq[MediaClip]) -> Batch:
        """Extract features of clips; a modality a file has no stream for is absent.

        Raises:
            MediaError: A file cannot be decoded.
        """
        columns = {name: [_extract(e, clip) for clip in clips] for name, e in self._extractors.items()}
        return Batch(
            ids=[clip.clip_id for clip in clips],
            texts=[clip.text or None for clip in clips],
            modalities={name: pad(arrays, self._extractors[name].width) for name, arrays in columns.items()},
        )


def predict_media(
    trained: TrainedRun,
    registry: Registry,
    paths: Seq[Path],
    texts: Seq[str] = (),
    *,
    on_clip: Callable[[], object] = lambda: None,
) -> list[Answer]:
    """Answer for media files, or for texts alone where there is no file.

    Args:
        trained: The loaded run.
        registry: Where its extractors are looked up.
        paths: Media files; may be empty.
        texts: What is said: once for all files, once for each, or the samples themselves without files.
        on_clip: Called after each file.

    Raises:
        InputError: There is nothing to answer, or the number of texts does not match.
        MediaError: A file cannot be decoded.
    """
    if not paths and not texts:
        raise InputError("There is nothing to predict.", hint="Give media files, or a text.")
    if not paths:
        return [a for text in texts for a in predict_batch(trained, text_batch(text, trained.run.widths()))]
    if len(texts) not in (0, 1, len(paths)):
        raise InputError(
            f"{len(texts)} texts for {len(paths)} files.", hint="Give the text once, or once for each file."
        )
    spoken = list(texts) * len(paths) if len(texts) == 1 else list(texts) or [""] * len(paths)
    reader = MediaReader(trained, registry)
    answers = []
    for path, said in zip(paths, spoken, strict=True):
        answers += predict_batch(trained, reader.read([MediaClip(path, str(path), said)]))
        on_clip()
    return answers


def predict_batch(trained: TrainedRun, batch: Batch) -> list[Answer]:
    """Answer for every sample of a batch, decoding as the run's pipeline says."""
    generate = trained.resolved.config.answers.decode == "generate"
    prediction = trained.pipeline.predict(batch.to(trained.pipeline.device), generate=generate)
    return list(tabulate(batch, prediction, trained.pipeline, trained.resolved.dataset).rows())


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


def _extract(extractor: Extractor, clip: MediaClip) -> NDArray[np.float32]:
    try:
        return np.asarray(extractor.extract(clip).values, np.float32)
    except AbsentModalityError:
        return np.zeros((0, extractor.width), np.float32)


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
