"""Predictions of a pipeline on the samples of a split, and their metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msakit.evaluation.ablation import Ablation, ablate
from msakit.metrics import compute_metrics
from msakit.samples.order import sorted_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msakit.core.pipeline.pipeline import Pipeline, Prediction
    from msakit.core.registry.specs import DatasetSpec
    from msakit.samples.samples import Samples


Diagnostics = dict[str, list[NDArray[Any]]]

LARGEST_DIAGNOSTIC = 16  # numbers a sample, for a diagnostic that fits a table
NUM_MAPPED_SAMPLES = 32  # samples whose larger diagnostics (attention maps) are kept


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Predictions for N samples, in the order of the rows asked for.

    Attributes:
        ids: Sample ids.
        labels: [N] scores or class indices; NaN where a sample has none.
        values: [N] predictions; NaN where generated text could not be read.
        probabilities: [N, A] or None when text was generated.
        texts: Generated texts or None.
        diagnostics: Name to N arrays; maps of more than 16 numbers are empty past the first 32 samples.
        seconds: Wall time.
    """

    ids: list[str]
    labels: NDArray[np.float64]
    values: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    texts: list[str] | None
    diagnostics: Diagnostics
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
    maps: list[Diagnostics] = []
    try:
        batches = sorted_batches(rows, samples.text_lengths(rows), batch_size)
        for chosen in samples.prefetched(batches):
            batch = ablate(samples.batch(chosen), ablations, samples).to(pipeline.device)
            prediction = pipeline.predict(batch, generate=generate)
            positions = [position[int(row)] for row in chosen]
            maps.append(_kept_diagnostics(prediction, positions))
            parts.append((positions, replace(prediction, diagnostics={})))
            if on_batch:
                on_batch(len(chosen))
    finally:
        pipeline.train(was_training)
    ended = time.perf_counter()
    return _in_order(parts, maps, samples.ids(rows), samples.labels(rows), ended - started)


def _kept_diagnostics(prediction: Prediction, positions: list[int]) -> Diagnostics:
    """A batch's diagnostics sample by sample; large ones only of the first samples, for memory's sake."""
    return {
        name: [
            sample if sample.size <= LARGEST_DIAGNOSTIC or position < NUM_MAPPED_SAMPLES else sample[:0]
            for sample, position in zip(values, positions, strict=True)
        ]
        for name, values in prediction.diagnostics.items()
    }


def _in_order(
    parts: list[tuple[list[int], Prediction]],
    maps: list[Diagnostics],
    ids: list[str],
    labels: NDArray[np.float64],
    seconds: float,
) -> Evaluation:
    order = np.argsort([index for indices, _ in parts for index in indices], kind="stable")
    values = np.concatenate([part.values for _, part in parts])[order]
    scored = [part.probabilities for _, part in parts if part.probabilities is not None]
    texts = [text for _, part in parts for text in part.texts or ()]
    diagnostics: Diagnostics = {}
    for name in maps[0] if maps else ():
        per_sample = [sample for part in maps for sample in part[name]]
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
