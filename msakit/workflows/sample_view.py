"""One stored sample through a run: its answer, and everything the fuser shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msakit.evaluation.evaluate import described_diagnostics, tabulate, text_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from msakit.core.interfaces import Diagnostic
    from msakit.runs.predictions import Answer
    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun


@dataclass(frozen=True, slots=True)
class SampleView:
    """One sample as a run sees it.

    Attributes:
        answer: Its answer.
        tokens: The utterance, token by token; what the rows of an attention map over text stand for.
        diagnostics: The fuser's diagnostics by name, without the axis of samples.
        described: How to read them.
        frame_shifts_s: Modality to seconds between frames; None where they are not equally spaced.
    """

    answer: Answer
    tokens: list[str]
    diagnostics: Mapping[str, NDArray[Any]]
    described: Mapping[str, Diagnostic]
    frame_shifts_s: Mapping[str, float | None]

    @property
    def maps(self) -> dict[str, NDArray[Any]]:
        """The maps [rows, columns] among the diagnostics."""
        return {
            name: self.diagnostics[name]
            for name, described in self.described.items()
            if described.kind == "map" and name in self.diagnostics and self.diagnostics[name].size
        }


def view_sample(trained: TrainedRun, samples: Samples, sample_id: str) -> SampleView:
    """Predict one sample and keep what the fuser shows of it.

    Raises:
        DataError: There is no such sample.
    """
    batch = samples.batch(samples.rows_of([sample_id]))
    pipeline = trained.pipeline
    prediction = pipeline.predict(batch.to(pipeline.device))
    (answer,) = tabulate(batch, prediction, pipeline, trained.resolved.dataset).rows()
    return SampleView(
        answer=answer,
        tokens=text_tokens(pipeline, batch.texts[0]),
        diagnostics={name: values[0] for name, values in prediction.diagnostics.items()},
        described=described_diagnostics(pipeline),
        frame_shifts_s={name: it["frame_shift_s"] for name, it in samples.feature_descriptions.items()},
    )
