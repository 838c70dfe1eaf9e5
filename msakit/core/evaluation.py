"""Predictions of a pipeline on the samples of a split, and their metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.ablation import Ablation, ablate
from msakit.core.batching import sorted_batches
from msakit.core.metrics import compute_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from msakit.core.pipeline import Pipeline, Prediction
    from msakit.core.samples import Samples
    from msakit.core.specs import DatasetSpec


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Predictions for N samples, in the order of the rows asked for.

    Attributes:
        ids: Sample ids.
        labels: [N] scores or class indices; NaN where a sample has none.
        values: [N] predictions; NaN where generated text could not be read.
        probabilities: [N, A] or None when text was generated.
        texts: Generated texts or None.
        diagnostics: Name to N arrays.
        seconds: Wall time.
    """

    ids: list[str]
    labels: NDArray[np.float64]
    values: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    texts: list[str] | None
    diagnostics: dict[str, list[NDArray[Any]]]
    seconds: float

    def metrics(self, dataset: DatasetSpec) -> dict[str, float]:
        """The dataset's metrics over all samples."""
        return compute_metrics(
            dataset.metrics,
            self.values,
            self.labels,
            label_names=dataset.labels or None,
            label_range=dataset.label_range,
        )


def evaluate(
    pipeline: Pipeline,
    samples: Samples,
    rows: NDArray[np.int64],
    batch_size: int,
    *,
    generate: bool = False,
    ablations: Sequence[Ablation] = (),
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Predict the given rows; a prediction depends on nothing but its own sample.

    Args:
        pipeline: The pipeline.
        samples: Where the samples come from.
        rows: Which samples.
        batch_size: Samples a batch; changes speed and memory only.
        generate: Greedy generation instead of scoring every admissible answer.
        ablations: Modalities to take away.
        on_batch: Called with the number of samples done after each batch.
    """
    started = time.perf_counter()
    was_training = pipeline.training
    pipeline.eval()
    position = {int(row): index for index, row in enumerate(rows)}
    parts: list[tuple[list[int], Prediction]] = []
    try:
        for chosen in sorted_batches(rows, samples.text_lengths(rows), batch_size):
            batch = ablate(samples.batch(chosen), ablations, samples).to(pipeline.device)
            parts.append(([position[int(row)] for row in chosen], pipeline.predict(batch, generate=generate)))
            if on_batch:
                on_batch(len(chosen))
    finally:
        pipeline.train(was_training)
    return _in_order(parts, samples.ids(rows), samples.labels(rows), time.perf_counter() - started)


def _in_order(
    parts: list[tuple[list[int], Prediction]], ids: list[str], labels: NDArray[np.float64], seconds: float
) -> Evaluation:
    order = np.argsort([index for indices, _ in parts for index in indices], kind="stable")
    values = np.concatenate([part.values for _, part in parts])[order]
    scored = [part.probabilities for _, part in parts if part.probabilities is not None]
    texts = [text for _, part in parts for text in part.texts or ()]
    diagnostics: dict[str, list[NDArray[Any]]] = {}
    for name in parts[0][1].diagnostics if parts else ():
        per_sample = [sample for _, part in parts for sample in part.diagnostics[name]]
        diagnostics[name] = [per_sample[index] for index in order]
    return Evaluation(
        ids=ids,
        labels=labels,
        values=values,
        probabilities=np.concatenate(scored)[order] if scored else None,
        texts=[texts[index] for index in order] if texts else None,
        diagnostics=diagnostics,
        seconds=seconds,
    )
