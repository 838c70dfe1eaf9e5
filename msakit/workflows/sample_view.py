"""One sample through a run: its answer, and everything the fuser shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msakit.evaluation.evaluate import described_diagnostics, tabulate, text_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from msakit.core.interfaces import Diagnostic
    from msakit.core.pipeline.batch import Batch
    from msakit.runs.predictions import Answer, Predictions
    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun


@dataclass(frozen=True, slots=True)
class SampleView:
    """One sample as a run sees it.

    Attributes:
        predictions: Its row of the predictions table.
        tokens: The utterance, token by token; what the rows of an attention map over text stand for.
        diagnostics: The fuser's diagnostics by name, without the axis of samples.
        described: How to read them.
        frame_shifts_s: Modality to seconds between frames; None where they are not equally spaced.
    """

    predictions: Predictions
    tokens: list[str]
    diagnostics: Mapping[str, NDArray[Any]]
    described: Mapping[str, Diagnostic]
    frame_shifts_s: Mapping[str, float | None]

    @property
    def answer(self) -> Answer:
        """Its answer, in words."""
        return next(self.predictions.rows())

    @property
    def maps(self) -> dict[str, NDArray[Any]]:
        """The maps [rows, columns] among the diagnostics, but those of streams that are absent."""
        absent = set(self.answer.absent)
        return {
            name: self.diagnostics[name]
            for name, described in self.described.items()
            if described.kind == "map" and name in self.diagnostics and self.diagnostics[name].size
            if not absent.intersection(described.entries)
        }


def view_sample(trained: TrainedRun, samples: Samples, sample_id: str) -> SampleView:
    """Predict one stored sample and keep what the fuser shows of it.

    Raises:
        DataError: There is no such sample.
    """
    batch = samples.batch(samples.rows_of([sample_id]))
    shifts = {name: described["frame_shift_s"] for name, described in samples.feature_descriptions.items()}
    return view_batch(trained, batch, shifts)


def view_batch(trained: TrainedRun, batch: Batch, frame_shifts_s: Mapping[str, float | None]) -> SampleView:
    """Predict a batch of one sample and keep what the fuser shows of it.

    Args:
        trained: The run.
        batch: One sample.
        frame_shifts_s: Modality to seconds between frames; None where they are not equally spaced.
    """
    pipeline = trained.pipeline
    prediction = pipeline.predict(batch.to(pipeline.device))
    return SampleView(
        predictions=tabulate(batch, prediction, pipeline, trained.resolved.dataset),
        tokens=text_tokens(pipeline, batch.texts[0]),
        diagnostics={name: values[0] for name, values in prediction.diagnostics.items()},
        described=described_diagnostics(pipeline),
        frame_shifts_s=frame_shifts_s,
    )
