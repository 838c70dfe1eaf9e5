"""Evaluate a loaded run: predictions to disk first, metrics second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from msakit.evaluation.evaluate import evaluate
from msakit.metrics import baseline_metrics
from msakit.runs.predictions import write_large_diagnostics, write_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.evaluation.ablation import Ablation
    from msakit.evaluation.evaluate import Evaluation
    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found: metrics of each split, and what the fuser complains of."""

    splits: dict[str, dict[str, float]]
    warnings: list[str]


def evaluate_run(
    trained: TrainedRun,
    samples: Samples,
    splits: Iterable[str],
    *,
    ablations: Sequence[Ablation] = (),
    facts: dict[str, Any] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Report:
    """Evaluate splits: predictions to disk first, metrics second.

    Without ablations the metrics are merged into the run's metrics.json; with them, into
    ablations.json under a name such as "test without audio (absent)".
    """
    run, resolved = trained.run, trained.resolved
    samples.check_widths(run.widths())
    suffix = "".join(f" without {a.modality} ({a.how})" for a in ablations)
    results, warnings = {}, []
    for split in splits:
        outcome = _predict_split(trained, samples, split, ablations, on_batch)
        name = f"{split}{suffix}"
        predictions = run.folder / f"predictions.{_slug(name)}.csv"
        write_predictions(predictions, outcome, trained.pipeline.answers, resolved.dataset)
        write_large_diagnostics(run.folder / f"diagnostics.{_slug(name)}.npz", outcome)
        results[name] = {
            **outcome.metrics(resolved.dataset),
            "samples_per_s": len(outcome.ids) / outcome.seconds,
        }
        warnings += [f"{name}: {complaint}" for complaint in _diagnose(trained, outcome)]
    file = "ablations.json" if ablations else "metrics.json"
    content = {**_header(resolved), **run.read_json(file), **(facts or {})}
    content["splits"] = {**content.get("splits", {}), **results}
    content["warnings"] = [
        w for w in content.get("warnings", []) if w.partition(":")[0] not in results
    ] + warnings
    if not ablations:
        content["baselines"] = {**content.get("baselines", {}), **_baselines(samples, splits, resolved)}
    run.write_json(file, content)
    return Report(results, warnings)


def _diagnose(trained: TrainedRun, outcome: Evaluation) -> list[str]:
    """What the fuser has to say about its own diagnostics over a whole split (a collapsed gate, say)."""
    diagnose = getattr(trained.pipeline.adapter.fuser, "diagnose", None)
    if diagnose is None:
        return []
    even = {n: v for n, v in outcome.diagnostics.items() if len({sample.shape for sample in v}) == 1}
    complaints: list[str] = diagnose({n: torch.from_numpy(np.stack(samples)) for n, samples in even.items()})
    return complaints


def _predict_split(
    trained: TrainedRun,
    samples: Samples,
    split: str,
    ablations: Sequence[Ablation],
    on_batch: Callable[[int], None] | None,
) -> Evaluation:
    config = trained.resolved.config
    return evaluate(
        trained.pipeline,
        samples,
        samples.rows(split),
        config.training.evaluation_batch_size,
        generate=config.answers.decode == "generate",
        ablations=ablations,
        on_batch=on_batch,
    )


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace("(", "").replace(")", "")


def _header(resolved: ResolvedPipeline) -> dict[str, Any]:
    dataset = resolved.dataset
    return {
        "seed": resolved.config.training.seed,
        "dataset": dataset.name,
        "task": dataset.task,
        "family": dataset.metrics,
        "label_names": list(dataset.labels),
        "label_range": list(dataset.label_range) if dataset.label_range else None,
    }


def _baselines(samples: Samples, splits: Iterable[str], resolved: ResolvedPipeline) -> dict[str, Any]:
    dataset = resolved.dataset
    train = samples.labels(samples.rows("train"))
    names = dataset.labels or None
    return {
        split: baseline_metrics(
            dataset.metrics, train, samples.labels(samples.rows(split)), label_names=names
        )
        for split in splits
    }
