"""The training loop: one for every pipeline, on whatever device accelerate finds."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.optim.lr_scheduler import LambdaLR

from msakit.core.errors import DataError, MsakitError
from msakit.evaluation.evaluate import evaluate, score
from msakit.samples.order import shuffled_batches
from msakit.training.modality_dropout import drop_modalities
from msakit.training.schedule import cosine_with_warmup
from msakit.training.warm_start import WarmStart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from msakit.core.pipeline.config import TrainingConfig
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.metrics import Metric
    from msakit.runs.folder import Run
    from msakit.samples.samples import Samples


class Observer(Protocol):
    """Somebody who watches a training: a progress bar, a tracker."""

    def on_prepare(self, *, done: int, total: int) -> None:
        """The backbone read so many of the run's prompts ahead of training."""

    def on_start(self, *, num_steps: int, first_step: int) -> None:
        """Training begins (or goes on) at `first_step` of at most `num_steps`."""

    def on_step(self, record: dict[str, Any]) -> None:
        """A step was made; the record is what history.jsonl gets."""

    def on_epoch(self, record: dict[str, Any], *, is_best: bool) -> None:
        """An epoch ended and was validated."""

    def on_end(self) -> None:
        """Training is over."""


@dataclass
class Progress:
    """Where a training stands; saved with every checkpoint."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_value: float = math.nan
    seconds: float = 0.0
    samples: int = 0
    stopped: str = ""

    def improves(self, value: float, metric: Metric) -> bool:
        """Whether a validation value is better than the best so far (NaN never is)."""
        if math.isnan(value):
            return False
        if math.isnan(self.best_value):
            return True
        return value > self.best_value if metric.higher_is_better else value < self.best_value


@dataclass
class Trainer:
    """Trains a pipeline on the training split, watching the validation split.

    The test split cannot reach it: it is handed the rows of the two splits it may see.

    Args:
        pipeline: What is trained.
        samples: Where the samples come from.
        settings: Optimisation settings.
        metric: The validation metric that decides what is best.
        run: Where history and checkpoints go.
        observers: Told of every step and epoch.
    """

    pipeline: Pipeline
    samples: Samples
    settings: TrainingConfig
    metric: Metric
    run: Run
    observers: Iterable[Observer] = ()
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        """Prepare optimiser, schedule and device."""
        self._train_rows = self.samples.rows("train")
        self._valid_rows = self.samples.rows("valid")
        set_seed(self.settings.seed)
        self._accelerator = Accelerator(cpu=self.pipeline.device.type == "cpu")
        self._optimizer = torch.optim.AdamW(
            self._parameter_groups(), weight_decay=self.settings.weight_decay, eps=self.settings.epsilon
        )
        factor = partial(
            cosine_with_warmup, warmup_steps=self._warmup_steps, horizon_steps=self._horizon_steps
        )
        self._schedule = LambdaLR(self._optimizer, factor)
        self._model, self._optimizer = self._accelerator.prepare(self.pipeline, self._optimizer)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        trainable = self.pipeline.trainable_parameters()
        if not trainable:
            msg = "The pipeline has nothing to train: no adapter, and a frozen backbone."
            raise MsakitError(
                msg, hint="Evaluate it as it is, or choose a fuser or backbone.adaptation: lora."
            )
        rates = {"adapter": self.settings.learning_rate, "backbone": self.settings.lora_learning_rate}
        groups = []
        for part, rate in rates.items():
            if parameters := [p for name, p in trainable.items() if name.startswith(f"{part}.")]:
                groups.append({"params": parameters, "lr": rate or self.settings.learning_rate})
        return groups

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps an epoch, on each process."""
        batches = math.ceil(len(self._train_rows) / self.settings.batch_size)
        return math.ceil(batches / int(self._accelerator.num_processes))

    @property
    def _horizon_steps(self) -> int:
        return (self.settings.horizon_epochs or self.settings.epochs) * self.steps_per_epoch

    @property
    def _warmup_steps(self) -> int:
        return round(self.settings.warmup_share * self._horizon_steps)

    def train(self) -> Progress:
        """Train to the end, or to where early stopping or the time limit end it."""
        num_steps = self.settings.epochs * self.steps_per_epoch
        if self.progress.step == 0:
            self._warm_start()
        for observer in self.observers:
            observer.on_start(num_steps=num_steps, first_step=self.progress.step)
        while not self._finished():
            self._train_epoch()
            self._validate()
            self._save_checkpoint()
        for observer in self.observers:
            observer.on_end()
        return self.progress

    def _finished(self) -> bool:
        progress, settings = self.progress, self.settings
        if progress.epoch >= settings.epochs:
            progress.stopped = "all epochs done"
        elif progress.epoch - 1 - progress.best_epoch >= settings.patience:
            progress.stopped = f"no better {self.metric.name} for {settings.patience} epochs"
        elif settings.max_minutes is not None and progress.seconds >= 60 * settings.max_minutes:
            progress.stopped = f"time limit of {settings.max_minutes:g} minutes"
        return bool(progress.stopped)

    def _warm_start(self) -> None:
        if not self.settings.warm_start_epochs or not any(True for _ in self.pipeline.adapter.parameters()):
            return
        started = time.perf_counter()
        for record in WarmStart(self.pipeline, self.samples, self.settings).run():
            self.run.append_history(record)
        self.progress.seconds += time.perf_counter() - started

    def _train_epoch(self) -> None:
        self._model.train()
        batches = shuffled_batches(
            self._train_rows,
            self.samples.text_lengths(self._train_rows),
            self.settings.batch_size,
            seed=self.settings.seed,
            epoch=self.progress.epoch,
        )
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        batches += batches[: -len(batches) % world]  # every process makes the same number of steps
        for rows in self.samples.prefetched(batches[rank::world]):
            started = time.perf_counter()
            batch = self.samples.batch(rows).to(self._accelerator.device)
            batch = drop_modalities(batch, self.settings.modality_dropout)
            loss = self._step(self._model(batch))
            self.progress.step += 1
            self.progress.samples += len(rows)
            self.progress.seconds += time.perf_counter() - started
            self._record_step(loss)
        self.progress.epoch += 1

    def _step(self, loss: Tensor) -> float:
        value = float(loss.detach())
        if not math.isfinite(value):
            msg = f"The loss became {value} at step {self.progress.step}."
            hint = "Lower training.learning_rate, or set features.normalise: standard."
            raise MsakitError(msg, hint=hint)
        self._accelerator.backward(loss)
        if self.settings.gradient_clip is not None:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self.settings.gradient_clip)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=True)
        return value

    def _record_step(self, loss: float) -> None:
        record = {
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "split": "train",
            "loss": loss,
            "learning_rate": self._schedule.get_last_lr()[0],
        }
        self.run.append_history(record)
        for observer in self.observers:
            observer.on_step(record)

    def _validate(self) -> None:
        started = time.perf_counter()
        size = self.settings.evaluation_batch_size
        predictions, _ = evaluate(self.pipeline, self.samples, self._valid_rows, size)
        self.progress.seconds += time.perf_counter() - started
        metrics = score(predictions, self.samples.dataset)
        if self.metric.name not in metrics:
            msg = f"The validation split gives no {self.metric.name}."
            raise DataError(msg)
        value = metrics[self.metric.name]
        is_best = self.progress.improves(value, self.metric)
        record = {
            "step": self.progress.step,
            "epoch": self.progress.epoch - 1,
            "split": "valid",
            **metrics,
        }
        self.run.append_history(record)
        if is_best:
            self.progress.best_epoch, self.progress.best_value = self.progress.epoch - 1, value
            self.run.save_adapter(self.pipeline)
        for observer in self.observers:
            observer.on_epoch(record, is_best=is_best)

    # Checkpoints

    def _save_checkpoint(self) -> None:
        self.run.save_checkpoint(
            {
                "progress": asdict(self.progress),
                "trainable": {n: p.detach().cpu() for n, p in self.pipeline.trainable_parameters().items()},
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
                "random": random_state(),
            }
        )

    def resume(self) -> None:
        """Go on from the run's last checkpoint; a run without one starts at the beginning."""
        checkpoint = self.run.load_checkpoint()
        if checkpoint is None:
            return
        self.progress = Progress(**{**checkpoint["progress"], "stopped": ""})
        with torch.no_grad():
            for name, parameter in self.pipeline.trainable_parameters().items():
                parameter.copy_(checkpoint["trainable"][name])
        self._optimizer.load_state_dict(checkpoint["optimizer"])
        self._schedule.load_state_dict(checkpoint["schedule"])
        restore_random_state(checkpoint["random"])
        self.run.truncate_history(self.progress.step)


def random_state() -> dict[str, Any]:
    """The state of torch's generators, which dropout draws from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
