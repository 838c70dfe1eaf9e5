"""Train a run: from a resolved pipeline and a store to a run directory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import set_seed

from msakit.core import processes
from msakit.core.errors import InputError
from msakit.core.pipeline.builder import answer_set, build_pipeline, measure_backbone
from msakit.core.pipeline.loss import LossWeighting, balanced_weights, named_weights
from msakit.metrics import validation_metric
from msakit.runs import provenance
from msakit.runs.checkpoint import commit
from msakit.runs.folder import Run
from msakit.runs.lock import locked
from msakit.runs.record import Outcome, Parameters, Timing
from msakit.samples.order import in_parts
from msakit.samples.samples import Samples
from msakit.training.progress import Progress
from msakit.training.trainer import Trainer
from msakit.workflows.evaluate import evaluate_run
from msakit.workflows.identity import identify
from msakit.workflows.load import TrainedRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry
    from msakit.training.observer import Observer

HEAD_SAMPLES = 128


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A pipeline to train, the store to train it on, and the run directory.

    Attributes:
        resolved: The pipeline.
        store: The samples.
        folder: The run directory; an interrupted training in it goes on.
        resume: Accept a finished run, which is then evaluated again.
        evaluate_on: The splits to evaluate in the end.
    """

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

    The same plan again goes on with a training that was interrupted. Several processes (started by
    `accelerate launch`) train together: one of them writes.

    Raises:
        DataError: The store does not hold what the pipeline needs.
        InputError: The folder holds another run, or another process is training in it.
        Interrupted: Ctrl-C or SIGTERM; what was trained is saved.
    """
    resolved = plan.resolved
    processes.join(cpu=_runs_on_cpu(resolved))
    observers = list(observers) if processes.is_main() else []
    samples = Samples.open(plan.store, resolved)
    for split in dict.fromkeys(("train", "valid", *plan.evaluate_on)):
        samples.check_labels(samples.rows(split), answer_set(resolved))
        samples.scan(split)
    with ExitStack() as held:
        processes.on_main(lambda: held.enter_context(locked(plan.folder)))
        data = identify(plan.store, samples)
        run = processes.on_main(lambda: _open_run(plan, samples, data))
        set_seed(resolved.config.training.seed)
        pipeline = build_pipeline(resolved, registry, widths=samples.widths, backbone=backbone)
        _fit_scalers(pipeline, samples, resolved)
        pipeline.weighting = _weighting(samples, resolved)
        pipeline.prepare(samples.words(), partial(_tell, observers))
        pipeline.fit_text_scaling(map(samples.words, in_parts(samples.rows("train"))))
        _fit_head(pipeline, samples)
        processes.on_main(
            lambda: run.write_json("provenance.json", _provenance(resolved, data, pipeline, registry))
        )
        progress = _train(plan, pipeline, samples, run, observers)
        run.load_adapter(pipeline)
        trained = TrainedRun(run, resolved, pipeline)
        evaluate_run(trained, samples, plan.evaluate_on, facts=_facts(progress, trained, registry))
        processes.on_main(lambda: _tell_plugins(run, registry))
    return trained


def _runs_on_cpu(resolved: ResolvedPipeline) -> bool:
    """Whether the backbone will: because it is told to, or because there is nothing else."""
    chosen = resolved.backbone.settings.model_dump().get("device")
    return chosen == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())


def _open_run(plan: TrainingPlan, samples: Samples, data: dict[str, Any]) -> Run:
    """The run directory, with what identifies the run written into it."""
    run = Run.create(plan.folder, plan.resolved.as_yaml(), resume=plan.resume)
    before = run.read_json("provenance.json").get("data", data)
    if changed := sorted(
        key for key in data.keys() - {"store", "table_version"} if before.get(key) != data[key]
    ):
        raise InputError(
            f"{run.folder} was trained on other data: {', '.join(changed)} changed in {plan.store}.",
            hint="Continue it with the data it began with, or start a new run with --output.",
        )
    run.write_json("features.json", samples.feature_descriptions)
    return run


def _tell_plugins(run: Run, registry: Registry) -> None:
    """Hand the finished run to trackers; what fails in them becomes a warning of the run."""
    record = run.read_record()
    if record is None:
        return
    content = record.model_dump(mode="json")
    if failures := registry.manager.notify("msakit_run_finished", record=content):
        warnings = tuple(dict.fromkeys((*record.warnings, *failures)))
        run.write_record(record.model_copy(update={"warnings": warnings}))


def _facts(progress: Progress, trained: TrainedRun, registry: Registry) -> dict[str, Any]:
    """The part of the run's record that training knows."""
    speed = progress.samples / progress.seconds if progress.samples else None
    return {
        "timing": Timing(train_s=progress.seconds, samples_per_s=speed),
        "training": Outcome(best_epoch=progress.best_epoch, epochs=progress.epoch, stopped=progress.stopped),
        "parameters": _count(trained.pipeline, trained.resolved, registry),
    }


def _train(
    plan: TrainingPlan, pipeline: Pipeline, samples: Samples, run: Run, observers: Sequence[Observer]
) -> Progress:
    """Train what there is to train: of a text-only prompt to a frozen backbone, nothing."""
    if not pipeline.trainable_parameters():
        if not run.adapter_file.is_file():
            processes.on_main(lambda: commit(run.folder, 0, None, pipeline))
        return Progress(stopped="nothing to train")
    metric = validation_metric(plan.resolved.dataset.metrics)
    trainer = Trainer(pipeline, samples, plan.resolved.config.training, metric, run, observers)
    trainer.resume()
    return trainer.train()


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


def _fit_head(pipeline: Pipeline, samples: Samples) -> None:
    """Scale what a head reads by a sample of the training split, spread evenly over it."""
    rows = samples.rows("train")
    chosen = rows[:: max(1, len(rows) // HEAD_SAMPLES)]
    pipeline.fit_head(
        samples.batch(part).to(pipeline.device) for part in np.array_split(chosen, 16) if len(part)
    )


def _weighting(samples: Samples, resolved: ResolvedPipeline) -> LossWeighting:
    training, classes = resolved.config.training, resolved.dataset.labels
    weights = training.class_weights
    if weights == "balanced":
        labels = samples.labels(samples.rows("train")).tolist()
        return LossWeighting(balanced_weights(labels, len(classes)), training.focal_gamma)
    return LossWeighting(named_weights(weights, classes) if weights else None, training.focal_gamma)


def _count(pipeline: Pipeline, resolved: ResolvedPipeline, registry: Registry) -> Parameters:
    trainable = sum(p.numel() for p in pipeline.trainable_parameters().values())
    facts = measure_backbone(resolved, registry)
    return Parameters(trainable=trainable, total=facts.num_parameters + trainable)


def _provenance(
    resolved: ResolvedPipeline, data: dict[str, Any], pipeline: Pipeline, registry: Registry
) -> dict[str, Any]:
    taken = {"device": str(pipeline.device), "dtype": str(pipeline.backbone.dtype).removeprefix("torch.")}
    seed = resolved.config.training.seed
    brought = _plugins(resolved, registry)
    return provenance.collect(seed=seed, data=data, plugins=brought, backbone=taken)


def _plugins(resolved: ResolvedPipeline, registry: Registry) -> dict[str, str]:
    """Each component and the package it came in."""
    brought = {choice.spec.full_name: registry.distribution(choice.spec) for choice in resolved.choices}
    return {name: package for name, package in brought.items() if package}
