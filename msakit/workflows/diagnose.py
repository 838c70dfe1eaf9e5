"""Look inside a trained run: what it makes of its modalities, what its fusion does, what it attends to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from msakit.core.interfaces import DiagnosedFuser
from msakit.evaluation.ablation import Ablation
from msakit.evaluation.diagnosis import (
    Dependency,
    Diagnosis,
    WeightsSummary,
    attention_profile,
    linear_cka,
    mean_of_entries,
    subsets,
    summarise_weights,
)
from msakit.evaluation.evaluate import described_diagnostics, score
from msakit.metrics import headline_metrics
from msakit.runs.record import Truncation
from msakit.workflows.evaluate import evaluate_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from msakit.core.interfaces import Diagnostic
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.runs.diagnostic_maps import Maps
    from msakit.runs.predictions import Predictions
    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun


def diagnose_run(
    trained: TrainedRun,
    samples: Samples,
    split: str,
    *,
    limit: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Diagnose a run on a split.

    Args:
        trained: The run.
        samples: Where the samples come from.
        split: Whose samples.
        limit: At most so many of them, spread over the split.
        on_batch: Called with the number of samples done after each batch of each evaluation.
    """
    pipeline = trained.pipeline
    rows = chosen_rows(samples, split, limit)
    dependency, predictions, maps = _dependency(trained, samples, rows, on_batch)
    described = described_diagnostics(pipeline)
    weights, scalars = _summaries(predictions, described)
    prompts = pipeline.prompts
    truncation = Truncation(texts=prompts.num_texts, cut=prompts.num_truncated, limit=prompts.max_text_tokens)
    return Diagnosis(
        split=split,
        num_samples=len(rows),
        dependency=dependency,
        weights=weights,
        scalars=scalars,
        survival=_survival(trained, samples, rows),
        attention={name: attention_profile(by_id.values()) for name, by_id in maps.arrays.items()},
        truncation=truncation,
        complaints=tuple(_complaints(pipeline, predictions, truncation)),
        described=described,
        samples=predictions.diagnostics,
    )


def chosen_rows(samples: Samples, split: str, limit: int | None) -> NDArray[np.int64]:
    """The rows of a split, or `limit` of them at equal distances."""
    rows = samples.rows(split)
    if limit is None or limit >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]


def _dependency(
    trained: TrainedRun,
    samples: Samples,
    rows: NDArray[np.int64],
    on_batch: Callable[[int], None] | None,
) -> tuple[tuple[Dependency, ...], Predictions, Maps]:
    """Metrics with every choice of streams; predictions and maps of all of them together."""
    dataset = trained.resolved.dataset
    streams, shown = trained.streams, headline_metrics(dataset.metrics)
    found, complete = [], None
    for left_out in subsets(streams) or [()]:
        ablations = [Ablation(name) for name in left_out]
        result = evaluate_rows(trained, samples, rows, ablations=ablations, on_batch=on_batch)
        complete = complete or result
        metrics = score(result[0], dataset)
        kept = tuple(name for name in streams if name not in left_out)
        found.append(Dependency(kept, {metric.name: metrics[metric.name] for metric in shown}))
    assert complete is not None  # the first choice leaves nothing out
    return (tuple(found), *complete)


def _summaries(
    found: Predictions, described: Mapping[str, Diagnostic]
) -> tuple[dict[str, WeightsSummary], dict[str, Mapping[str, float]]]:
    weights, scalars = {}, {}
    for name, values in found.diagnostics.items():
        entries = described[name].entries if name in described else ()
        if name in described and described[name].kind == "weights":
            weights[name] = summarise_weights(values, entries or tuple(map(str, range(values.shape[1]))))
        else:
            scalars[name] = mean_of_entries(values, entries)
    return weights, scalars


@torch.inference_mode()
def _survival(trained: TrainedRun, samples: Samples, rows: NDArray[np.int64]) -> float | None:
    """CKA of what the fuser made [N, K0 F] and the pseudo tokens of it [N, K H]."""
    pipeline, size = trained.pipeline, trained.resolved.config.training.evaluation_batch_size
    fused, pseudo = [], []
    for start in range(0, len(rows), size):
        batch = samples.batch(rows[start : start + size]).to(pipeline.device)
        prompt, mixed = pipeline.assemble(batch)
        if prompt.pseudo is None:
            return None
        fused.append(mixed.tokens.flatten(1).double().cpu().numpy())
        pseudo.append(prompt.pseudo.flatten(1).double().cpu().numpy())
    return linear_cka(np.concatenate(fused), np.concatenate(pseudo))


def _complaints(pipeline: Pipeline, found: Predictions, truncation: Truncation) -> list[str]:
    fuser = pipeline.adapter.fuser
    complaints: list[str] = []
    if isinstance(fuser, DiagnosedFuser) and fuser.diagnostics.keys() & found.diagnostics.keys():
        complaints += fuser.diagnose({n: torch.from_numpy(v) for n, v in found.diagnostics.items()})
    if truncation.cut:
        complaints.append(f"{truncation.share:.1%} of the utterances were cut to {truncation.limit} tokens")
    return complaints
