"""Predictions of a pipeline on the samples of a split, and their metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from msakit.core import processes
from msakit.core.interfaces import DiagnosedFuser
from msakit.evaluation.ablation import Ablation, ablate
from msakit.metrics import compute_metrics
from msakit.runs.diagnostic_maps import Maps, merged
from msakit.runs.predictions import Predictions, joined
from msakit.samples.order import parts_within, sorted_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from msakit.core.interfaces import Diagnostic
    from msakit.core.pipeline.batch import Batch
    from msakit.core.pipeline.pipeline import Pipeline, Prediction
    from msakit.core.registry.specs import DatasetSpec
    from msakit.samples.order import BatchLimits
    from msakit.samples.samples import Samples

LARGEST_DIAGNOSTIC = 16  # numbers a sample, for a diagnostic that fits a table
NUM_MAPPED_SAMPLES = 32  # samples whose larger diagnostics (attention maps) are kept


def evaluate(
    pipeline: Pipeline,
    samples: Samples,
    rows: NDArray[np.int64],
    limits: BatchLimits,
    *,
    generate: bool = False,
    ablations: Sequence[Ablation] = (),
    on_batch: Callable[[int], None] | None = None,
) -> tuple[Predictions, Maps]:
    """Predict the given rows; a prediction depends on nothing but its own sample.

    Several processes share the rows and all get the whole result.

    Args:
        pipeline: The pipeline.
        samples: Where the samples come from.
        rows: Which samples.
        limits: What is computed at once; changes speed and memory only.
        generate: Greedy generation instead of scoring every admissible answer.
        ablations: Modalities to take away.
        on_batch: Called with the number of samples done after each batch.

    Returns:
        The table, in the order of the rows; and the diagnostics too large for it, of the first 32 samples.
    """
    was_training = pipeline.training
    pipeline.eval()
    mapped = set(samples.ids(rows[:NUM_MAPPED_SAMPLES]))
    parts: list[Predictions] = []
    maps = Maps()
    try:
        batches = _batches(pipeline, samples, rows, limits)
        for chosen in samples.prefetched(batches[processes.rank() :: processes.count()]):
            batch = ablate(samples.batch(chosen), ablations, samples).to(pipeline.device)
            prediction = pipeline.predict(batch, generate=generate)
            parts.append(tabulate(batch, prediction, pipeline, samples.dataset))
            _keep_maps(batch, prediction, pipeline, mapped, maps)
            if on_batch:
                on_batch(len(chosen))
    finally:
        pipeline.train(was_training)
    everywhere = processes.gather((parts, maps))
    table = joined([part for found, _ in everywhere for part in found])
    maps = merged(found for _, found in everywhere)
    place = {sample: index for index, sample in enumerate(table.ids)}
    ordered = table.reordered([place[sample] for sample in samples.ids(rows)])
    return replace(ordered, groups=samples.groups(rows)), maps


def _batches(
    pipeline: Pipeline, samples: Samples, rows: NDArray[np.int64], limits: BatchLimits
) -> list[NDArray[np.int64]]:
    batches = sorted_batches(rows, samples.text_lengths(rows), limits.samples)
    if limits.tokens is None:
        return batches
    return [
        part
        for batch in batches
        for part in parts_within(batch, pipeline.num_prompt_tokens(samples.words(batch)), limits)
    ]


def tabulate(batch: Batch, found: Prediction, pipeline: Pipeline, dataset: DatasetSpec) -> Predictions:
    """A batch's predictions as a table: its samples, what was answered, the fuser's small diagnostics."""
    streams = {name: ~sequence.present.cpu().numpy() for name, sequence in batch.modalities.items()}
    missing = {**streams, "text": np.array([text is None for text in batch.texts])}
    return Predictions(
        ids=tuple(batch.ids),
        labels=np.full(len(batch), np.nan) if batch.labels is None else np.array(batch.labels, np.float64),
        values=found.values,
        label_names=tuple(dataset.labels) if dataset.task == "classification" else (),
        answers=tuple(dataset.labels) if dataset.task == "classification" else pipeline.answers.texts,
        probabilities=found.probabilities,
        generated=None if found.texts is None else tuple(found.texts),
        absent=tuple(tuple(name for name, gone in missing.items() if gone[row]) for row in range(len(batch))),
        diagnostics={
            name: values.astype(np.float64)
            for name, values in found.diagnostics.items()
            if fits_a_table(values, described_diagnostics(pipeline).get(name))
        },
    )


def described_diagnostics(pipeline: Pipeline) -> Mapping[str, Diagnostic]:
    """How to read what the pipeline's fuser shows; empty where it says nothing of it."""
    fuser = pipeline.adapter.fuser
    return fuser.diagnostics if isinstance(fuser, DiagnosedFuser) else {}


def fits_a_table(values: NDArray[np.generic], described: Diagnostic | None) -> bool:
    """Whether a diagnostic [B, ...] is the same few numbers for every sample, whatever the batch."""
    if described is None:
        return values.ndim == 1
    return described.kind != "map" and values[0].size <= LARGEST_DIAGNOSTIC


def text_tokens(pipeline: Pipeline, text: str | None) -> list[str]:
    """The utterance token by token: what the rows of a map over text stand for."""
    (ids,) = pipeline.prompts.build([text]).text
    return [pipeline.backbone.detokenize([token]) for token in ids]


def _keep_maps(batch: Batch, found: Prediction, pipeline: Pipeline, wanted: set[str], kept: Maps) -> None:
    """Add a batch's larger diagnostics to those kept, of the wanted samples, padding cut off."""
    described = described_diagnostics(pipeline)
    large = {n: v for n, v in found.diagnostics.items() if not fits_a_table(v, described.get(n))}
    for row, sample in enumerate(batch.ids):
        if large and sample in wanted:
            kept.tokens[sample] = text_tokens(pipeline, batch.texts[row])
            for name, values in large.items():
                kept.arrays.setdefault(name, {})[sample] = without_padding(values[row].astype(np.float64))


def without_padding(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map without the rows and columns of zeros at its end."""
    for axis in range(values.ndim):
        used = np.flatnonzero(values.any(axis=tuple(other for other in range(values.ndim) if other != axis)))
        values = values.take(range(int(used[-1]) + 1 if used.size else 0), axis=axis)
    return values


def score(found: Predictions, dataset: DatasetSpec) -> dict[str, float]:
    """The dataset's metrics over all samples."""
    return compute_metrics(
        dataset.metrics,
        found.values,
        found.labels,
        label_names=dataset.labels or None,
        label_range=dataset.label_range,
    )
