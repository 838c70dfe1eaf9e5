"""What the commands do, as functions: train a run, load one, evaluate one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import set_seed

from msakit.core import provenance
from msakit.core.builder import answer_set, build_pipeline, measure_backbone
from msakit.core.config import override, parse_pipeline
from msakit.core.errors import InputError
from msakit.core.evaluation import evaluate
from msakit.core.metrics import baseline_metrics, validation_metric
from msakit.core.predictions import write_large_diagnostics, write_predictions
from msakit.core.resolution import resolve
from msakit.core.run import Run
from msakit.core.samples import Samples
from msakit.core.training import Progress, Trainer
from msakit.core.yaml_files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from msakit.core.ablation import Ablation
    from msakit.core.evaluation import Evaluation
    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline import Pipeline
    from msakit.core.registry import Registry
    from msakit.core.resolution import ResolvedPipeline
    from msakit.core.training import Observer


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run, its pipeline with the best weights in it, and what it resolved to."""

    run: Run
    resolved: ResolvedPipeline
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found: metrics of each split, and what the fuser complains of."""

    splits: dict[str, dict[str, float]]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train, on what, and where to put it."""

    resolved: ResolvedPipeline
    store: Path
    folder: Path
    resume: bool = False
    evaluate_on: tuple[str, ...] = ("valid", "test")


def train_run(
    plan: TrainingPlan,
    registry: Registry,
    *,
    observers: Iterable[Observer] = (),
    backbone: Backbone | None = None,
) -> TrainedRun:
    """Train a pipeline and evaluate its best checkpoint; everything lands in the run directory.

    A pipeline with nothing to train (a text-only prompt to a frozen backbone) is only evaluated.

    Raises:
        DataError: The store does not hold what the pipeline needs.
        InputError: The folder holds another run.
    """
    observers = list(observers)
    resolved, settings = plan.resolved, plan.resolved.config.training
    samples = Samples.open(plan.store, resolved)
    for split in dict.fromkeys(("train", "valid", *plan.evaluate_on)):
        samples.check_labels(samples.rows(split), answer_set(resolved))
        samples.scan(samples.rows(split))
    run = Run.create(plan.folder, resolved.as_yaml(), resume=plan.resume)
    set_seed(settings.seed)
    pipeline = build_pipeline(resolved, registry, widths=samples.widths, backbone=backbone)
    _fit_scalers(pipeline, samples, resolved)
    run.write_json("features.json", samples.feature_descriptions)
    run.write_json("provenance.json", provenance.collect(seed=settings.seed, data=_identify(plan, samples)))
    if not resolved.config.prompt.context:
        pipeline.prepare(samples.texts, partial(_tell, observers))
    progress = _train(plan, pipeline, samples, run, observers)
    run.load_adapter(pipeline)
    trained = TrainedRun(run, resolved, pipeline)
    facts = {
        "timing": {
            "train_s": progress.seconds,
            "samples_per_s": progress.samples / progress.seconds if progress.samples else None,
        },
        "training": {
            "best_epoch": progress.best_epoch,
            "epochs": progress.epoch,
            "stopped": progress.stopped,
        },
        "parameters": _count(pipeline, resolved, registry),
    }
    evaluate_run(trained, samples, plan.evaluate_on, facts=facts)
    registry.manager.notify("msakit_run_finished", record=run.read_json("metrics.json"))
    return trained


def load_run(folder: Path, registry: Registry, *, backbone: Backbone | None = None) -> TrainedRun:
    """Load a finished run with its best weights.

    Raises:
        InputError: The folder is not a run, or its files are damaged.
    """
    run = Run.open(folder)
    config = parse_pipeline(read_yaml(run.pipeline_file), str(run.pipeline_file))
    resolved = resolve(config, registry, source=str(run.pipeline_file))
    pipeline = build_pipeline(resolved, registry, widths=run.widths(), backbone=backbone)
    run.load_adapter(pipeline)
    pipeline.eval()
    return TrainedRun(run, resolved, pipeline)


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


def with_decoding(trained: TrainedRun, decode: str | None) -> TrainedRun:
    """The same run, answering by "score" or "generate"."""
    if decode is None:
        return trained
    content = override(trained.resolved.config.model_dump(), [("answers.decode", decode)])
    return replace(trained, resolved=replace(trained.resolved, config=parse_pipeline(content, "--decode")))


def stored_samples(trained: TrainedRun, store: Path | None) -> Samples:
    """The samples of the store given, or else of the one the run was trained on.

    Raises:
        InputError: Neither is there.
        DataError: The store does not hold what the pipeline was trained on.
    """
    samples = Samples.open(store or _recorded_store(trained.run), trained.resolved)
    samples.check_widths(trained.run.widths())
    return samples


def _recorded_store(run: Run) -> Path:
    recorded = run.read_json("provenance.json").get("data", {}).get("store")
    if not recorded or not Path(recorded).exists():
        raise InputError(f"The store of {run.folder} ({recorded}) is gone.", hint="Name one with --store.")
    return Path(recorded)


def _train(
    plan: TrainingPlan, pipeline: Pipeline, samples: Samples, run: Run, observers: Sequence[Observer]
) -> Progress:
    """Train what there is to train: of a text-only prompt to a frozen backbone, nothing."""
    if not pipeline.trainable_parameters():
        run.save_adapter(pipeline)
        return Progress(stopped="nothing to train")
    metric = validation_metric(plan.resolved.dataset.metrics)
    trainer = Trainer(pipeline, samples, plan.resolved.config.training, metric, run, observers)
    if plan.resume:
        trainer.resume()
    return trainer.train()


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


def _tell(observers: Iterable[Observer], done: int, total: int) -> None:
    for observer in observers:
        observer.on_prepare(done=done, total=total)


def _fit_scalers(pipeline: Pipeline, samples: Samples, resolved: ResolvedPipeline) -> None:
    if resolved.config.features.normalise == "none":
        return
    for name in pipeline.adapter.modalities:
        found = samples.statistics(name)
        mean, deviation = torch.from_numpy(found.mean), torch.from_numpy(found.deviation)
        pipeline.adapter.fit_scaler(name, mean.to(pipeline.device), deviation.to(pipeline.device))


def _count(pipeline: Pipeline, resolved: ResolvedPipeline, registry: Registry) -> dict[str, int]:
    trainable = sum(p.numel() for p in pipeline.trainable_parameters().values())
    facts = measure_backbone(resolved, registry)
    return {"trainable": trainable, "total": facts.num_parameters + trainable}


def _identify(plan: TrainingPlan, samples: Samples) -> dict[str, Any]:
    table = samples.table
    return {
        "store": str(plan.store.resolve()),
        "dataset": plan.resolved.dataset.name,
        "table_version": table.version,
        "splits": table.splits(),
        "feature_sets": {name: column.fingerprint for name, column in table.features.items()},
    }
