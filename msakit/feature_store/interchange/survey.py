"""The first pass over an import: measures every sequence, so that refusals come before the first write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import Array, ImportedCorpus, ImportedModality

EXAMPLES = 5
Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done so far, total)."""


@dataclass
class ModalitySurvey:
    """Measurements of one modality.

    Attributes:
        width: features per frame (D).
        num_present: samples that have the modality.
        num_frames: real frames in all.
        lengths: (shortest, longest) real length.
        num_nan: values that are NaN; `num_inf` and `num_negative_inf` likewise.
        bad_ids: the first samples with such values; `num_bad` counts them all.
        largest: largest magnitude of a finite value.
        exact: storage types that hold every value without loss, narrowest first.
    """

    width: int = 0
    num_present: int = 0
    num_frames: int = 0
    lengths: tuple[int, int] = (0, 0)
    num_nan: int = 0
    num_inf: int = 0
    num_negative_inf: int = 0
    num_bad: int = 0
    bad_ids: list[str] = field(default_factory=list)
    largest: float = 0.0
    exact: list[str] = field(default_factory=list)

    @property
    def num_nonfinite(self) -> int:
        """NaN and infinities together."""
        return self.num_nan + self.num_inf + self.num_negative_inf

    def as_json(self) -> dict[str, Any]:
        """The measurements as plain data."""
        return {
            "width": self.width,
            "present": self.num_present,
            "frames": self.num_frames,
            "shortest": self.lengths[0],
            "longest": self.lengths[1],
            "largest": self.largest,
            "nan": self.num_nan,
            "inf": self.num_inf,
            "negative_inf": self.num_negative_inf,
            "samples_with_nonfinite": self.num_bad,
            "first_such_samples": self.bad_ids,
        }


def survey_corpus(corpus: ImportedCorpus, progress: Progress | None = None) -> dict[str, ModalitySurvey]:
    """Measure every sequence of a corpus.

    Raises:
        StoreError: sequences of one modality differ in width; names the sample.
    """
    found = {}
    for name, modality in corpus.modalities.items():
        survey = found[name] = ModalitySurvey(exact=_candidates(modality))
        for number, row in enumerate(corpus.rows):
            if progress is not None:
                progress(f"checking {name}", number, len(corpus.rows))
            values = modality.load(number)
            if values is not None:
                _measure(survey, values, f"{modality.source}: {name} of {row.id}", row.id)
    return found


def _candidates(modality: ImportedModality) -> list[str]:
    kind = np.dtype(modality.source_dtype).kind
    return ["uint8", "int32", "int64"] if kind in "biu" else ["float16", "float32", "float64"]


def _measure(survey: ModalitySurvey, values: Array, where: str, sample_id: str) -> None:
    length, width = values.shape
    if survey.num_present and width != survey.width:
        raise StoreError(
            f"{where} has {width} features a frame, others have {survey.width}", "Extract it again."
        )
    if width == 0:
        raise StoreError(f"{where} has no features", "Leave the modality out: --modality.")
    shortest, longest = survey.lengths if survey.num_present else (length, length)
    survey.width, survey.lengths = width, (min(shortest, length), max(longest, length))
    survey.num_present += 1
    survey.num_frames += length
    finite = values
    if values.dtype.kind == "f":
        good = np.isfinite(values)
        if not good.all():
            survey.num_nan += int(np.isnan(values).sum())
            survey.num_inf += int(np.isposinf(values).sum())
            survey.num_negative_inf += int(np.isneginf(values).sum())
            survey.num_bad += 1
            survey.bad_ids += [sample_id] if len(survey.bad_ids) < EXAMPLES else []
            finite = values[good]
    if finite.size:
        survey.largest = max(survey.largest, abs(float(finite.max())), abs(float(finite.min())))
    while len(survey.exact) > 1 and not _holds(survey.exact[0], finite):
        survey.exact.pop(0)


def _holds(dtype: str, values: Array) -> bool:
    """Whether a storage type holds these finite values without loss."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(dtype).astype(values.dtype), values))
