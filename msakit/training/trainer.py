"""The training loop: one for every pipeline, on whatever device accelerate finds, in one process or many."""

from __future__ import annotations

import math
import signal
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from torch.optim.lr_scheduler import LambdaLR

from msakit.core import processes
from msakit.core.errors import DataError, DivergedError, InputError, Interrupted, MsakitError
from msakit.evaluation.evaluate import evaluate, score
from msakit.runs.checkpoint import commit, load_state
from msakit.samples.order import BatchLimits, shuffled_batches
from msakit.training.interruption import StopRequest
from msakit.training.modality_dropout import drop_modalities
from msakit.training.parts import StepPlan
from msakit.training.progress import Progress
from msakit.training.randomness import random_state, restore_random_state
from msakit.training.schedule import cosine_with_warmup
from msakit.training.warm_start import WarmStart

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from msakit.core.pipeline.config import TrainingConfig
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.metrics import Metric
    from msakit.runs.folder import Run
    from msakit.samples.samples import Samples
    from msakit.training.observer import Observer


# A batch without a modality leaves its encoder's parameters out; the scalers' buffers are equal everywhere.
_DDP = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)


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
        self._plan = StepPlan(self.pipeline, self.samples, self.settings)
        self._accelerator = Accelerator(
            cpu=self.pipeline.device.type == "cpu",
            mixed_precision="no",  # the backbone has the dtype its settings say, the adapter float32
            kwargs_handlers=[_DDP],
        )
        set_seed(self.settings.seed, device_specific=processes.count() > 1)  # dropout differs, weights do not
        self._optimizer = torch.optim.AdamW(
            self._parameter_groups(), weight_decay=self.settings.weight_decay, eps=self.settings.epsilon
        )
        factor = partial(
            cosine_with_warmup, warmup_steps=self._warmup_steps, horizon_steps=self._horizon_steps
        )
        self._schedule = LambdaLR(self._optimizer, factor)
        self._model, self._optimizer = self._accelerator.prepare(self.pipeline, self._optimizer)
        self._saved_at = time.perf_counter()

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
        """Optimiser steps an epoch."""
        return math.ceil(len(self._train_rows) / self._plan.samples_per_step)

    @property
    def _horizon_steps(self) -> int:
        return (self.settings.horizon_epochs or self.settings.epochs) * self.steps_per_epoch

    @property
    def _warmup_steps(self) -> int:
        return round(self.settings.warmup_share * self._horizon_steps)

    def train(self) -> Progress:
        """Train to the end, or to where early stopping or the time limit end it.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; what was trained is saved.
            DivergedError: The loss is no number; names the samples.
        """
        num_steps = self.settings.epochs * self.steps_per_epoch
        if warms_up := self.progress.step == 0 and self._has_warm_start:
            self._tell_warm_start(done=0)
        for observer in self.observers:
            observer.on_start(num_steps=num_steps, first_step=self.progress.step)
        try:
            with StopRequest() as self._stop:
                if warms_up:
                    self._warm_start()
                while not self._finished():
                    self._train_epoch()
                    is_best = self._validate()
                    self._save(is_best=is_best)
            if stop := max(processes.gather(self._stop.signal)):
                raise self._interruption(stop)  # it came after the last step
        finally:
            for observer in self.observers:
                observer.on_end()
        return self.progress

    def _finished(self) -> bool:
        progress, settings = self.progress, self.settings
        if progress.epoch >= settings.epochs:
            progress.stopped = "all epochs done"
        elif progress.epoch - progress.best_epoch >= settings.patience:
            progress.stopped = f"no better {self.metric.name} for {settings.patience} epochs"
        elif settings.max_minutes is not None and progress.seconds >= 60 * settings.max_minutes:
            progress.stopped = f"time limit of {settings.max_minutes:g} minutes"
        return bool(progress.stopped)

    @property
    def _has_warm_start(self) -> bool:
        return bool(self.settings.warm_start_epochs) and any(True for _ in self.pipeline.adapter.parameters())

    def _tell_warm_start(self, done: int, loss: float | None = None) -> None:
        for observer in self.observers:
            observer.on_warm_start(done=done, total=self.settings.warm_start_epochs, loss=loss)

    def _warm_start(self) -> None:
        started = time.perf_counter()
        for record in WarmStart(self.pipeline, self.samples, self.settings).run():
            if processes.is_main():
                self.run.append_history(record)
            self._tell_warm_start(record["epoch"], record["valid_loss"])
        processes.share(self.pipeline.adapter.state_dict().values())  # dropout made them differ
        self.progress.seconds += time.perf_counter() - started

    def _train_epoch(self) -> None:
        self._model.train()
        batches = shuffled_batches(
            self._train_rows,
            self.samples.text_lengths(self._train_rows),
            self._plan.samples_per_step,
            seed=self.settings.seed,
            epoch=self.progress.epoch,
        )
        for rows in self.samples.prefetched(batches[self.progress.batches :]):
            started = time.perf_counter()
            loss = self._step(rows)
            self.progress.step += 1
            self.progress.batches += 1
            self.progress.samples += len(rows)
            self.progress.seconds += time.perf_counter() - started
            self._record_step(loss)
            self._save_if_due()

    def _step(self, rows: NDArray[np.int64]) -> float:
        """One optimiser step on the rows of all processes; its loss."""
        parts = self._plan.parts(rows)
        loss = 0.0
        for index, part in enumerate(parts):
            more_follow = index < len(parts) - 1
            with self._accelerator.no_sync(self._model) if more_follow else nullcontext():
                loss += self._accumulate(part.rows, part.weight)
        if self.settings.gradient_clip is not None:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self.settings.gradient_clip)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(sum(processes.gather(loss)))

    def _accumulate(self, rows: NDArray[np.int64], weight: float) -> float:
        """Add the gradient of some rows, which count for `weight` of the step's loss."""
        batch = self.samples.batch(rows).to(self._accelerator.device)
        loss = self._model(drop_modalities(batch, self.settings.modality_dropout))
        value = float(loss.detach())
        if not math.isfinite(value):
            names = ", ".join(batch.ids)
            raise DivergedError(
                f"The loss became {value} at step {self.progress.step + 1} on the samples {names}.",
                hint="Look at these samples; lower training.learning_rate, or set features.normalise: "
                "standard.",
            )
        # Processes average their gradients; what is wanted is the sum.
        self._accelerator.backward(loss * (weight * processes.count()))
        return value * weight

    def _record_step(self, loss: float) -> None:
        record = {
            "step": self.progress.step,
            "epoch": self.progress.epoch + 1,
            "split": "train",
            "loss": loss,
            "learning_rate": self._schedule.get_last_lr()[0],
        }
        if processes.is_main():
            self.run.append_history(record)
        for observer in self.observers:
            observer.on_step(record)

    def _validate(self) -> bool:
        """Validate, ending the epoch; whether it is the best so far."""
        started = time.perf_counter()
        predictions, _ = evaluate(
            self.pipeline,
            self.samples,
            self._valid_rows,
            BatchLimits(self.settings.evaluation_batch_size, self.settings.max_batch_tokens),
            on_batch=lambda _: self._save_if_stopped(),
        )
        self.progress.seconds += time.perf_counter() - started
        metrics = score(predictions, self.samples.dataset)
        if self.metric.name not in metrics:
            msg = f"The validation split gives no {self.metric.name}."
            raise DataError(msg)
        is_best = self.progress.end_epoch(metrics[self.metric.name], self.metric)
        record = {"step": self.progress.step, "epoch": self.progress.epoch, "split": "valid", **metrics}
        if processes.is_main():
            self.run.append_history(record)
        for observer in self.observers:
            observer.on_epoch(record, is_best=is_best)
        return is_best

    # Checkpoints

    def _save_if_due(self) -> None:
        """Save every so many steps or minutes, and before stopping; all processes decide alike."""
        settings = self.settings
        minutes = (time.perf_counter() - self._saved_at) / 60
        due = minutes >= settings.checkpoint_minutes or (
            settings.checkpoint_steps is not None and self.progress.step % settings.checkpoint_steps == 0
        )
        stop, due = map(max, zip(*processes.gather((self._stop.signal, due)), strict=True))
        if stop or due:
            self._save()
        if stop:
            raise self._interruption(stop)

    def _interruption(self, stop: int) -> Interrupted:
        return Interrupted(
            f"Interrupted at step {self.progress.step}, which is saved in {self.run.folder}.",
            hint="The same command goes on from there.",
            by_terminal=stop == signal.SIGINT,
        )

    def _save_if_stopped(self) -> None:
        if self._stop.signal and processes.count() == 1:  # several stop together, after the validation
            self._save_if_due()

    def _save(self, *, is_best: bool = False) -> None:
        random = processes.gather(random_state())
        state = {
            "progress": asdict(self.progress),
            "trainable": {n: p.detach().cpu() for n, p in self.pipeline.trainable_parameters().items()},
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": random,
        }
        best = self.pipeline if is_best else None
        processes.on_main(lambda: commit(self.run.folder, self.progress.step, state, best))
        self._saved_at = time.perf_counter()

    def resume(self) -> None:
        """Go on from the run's last checkpoint; a run without one starts at the beginning.

        Raises:
            InputError: The checkpoint is damaged, or was made by another number of processes.
        """
        processes.on_main(self.run.rewind_history)
        state = load_state(self.run.folder)
        if state is None:
            return
        if len(state["random"]) != processes.count():
            made, now = len(state["random"]), processes.count()
            raise InputError(
                f"{self.run.folder} was trained by {made} processes, not {now}.",
                hint=f"Continue it with: accelerate launch --num_processes {made} -m msakit train ...",
            )
        self.progress = Progress(**{**state["progress"], "stopped": ""})
        with torch.no_grad():
            for name, parameter in self.pipeline.trainable_parameters().items():
                parameter.copy_(state["trainable"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        restore_random_state(state["random"][processes.rank()])
