"""One stored sample through a run: its answer, and everything the fuser shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msakit.workflows.predict import answers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun
    from msakit.workflows.predict import Answer


@dataclass(frozen=True, slots=True)
class SampleView:
    """What a run makes of one sample.

    Attributes:
        answer: Its answer.
        tokens: The utterance, token by token; what the rows of an attention map over text stand for.
        diagnostics: The fuser's diagnostics by name, without the axis of samples.
        frame_shifts_s: Modality to seconds between frames; None where they are not equally spaced.
    """

    answer: Answer
    tokens: list[str]
    diagnostics: Mapping[str, NDArray[Any]]
    frame_shifts_s: Mapping[str, float | None]

    @property
    def maps(self) -> dict[str, NDArray[Any]]:
        """The attention maps [L, T] among the diagnostics: text tokens over frames."""
        return {
            name: values
            for name, values in self.diagnostics.items()
            if values.ndim == 2 and name.startswith("attention_text_") and values.size
        }


def view_sample(trained: TrainedRun, samples: Samples, sample_id: str) -> SampleView:
    """Predict one sample and keep what the fuser shows of it.

    Raises:
        DataError: There is no such sample.
    """
    batch = samples.batch(samples.rows_of([sample_id]))
    prediction = trained.pipeline.predict(batch.to(trained.pipeline.device))
    backbone = trained.pipeline.backbone
    return SampleView(
        answer=answers_of(batch, prediction, trained)[0],
        tokens=[backbone.detokenize([token]) for token in backbone.tokenize(batch.texts[0] or "")],
        diagnostics={name: values[0] for name, values in prediction.diagnostics.items()},
        frame_shifts_s={name: it["frame_shift_s"] for name, it in samples.feature_descriptions.items()},
    )
