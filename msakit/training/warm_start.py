"""A start for the adapter before it meets the language model.

Through a frozen language model the first hundreds of steps go into finding any direction at all, and each
costs two passes through that model. With a small head in the model's place a step takes milliseconds, and
the adapter comes to the language model with pseudo tokens that already tell samples apart (ours, no paper's).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from msakit.samples.order import in_parts, shuffled_batches
from msakit.training.modality_dropout import drop_modalities
from msakit.training.schedule import cosine_with_warmup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from msakit.core.pipeline.config import TrainingConfig
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.samples.samples import Samples


class Head(nn.Module):
    """Mean pseudo token, LayerNorm, Linear: a score, or one logit a class.

    Args:
        hidden_size: Width of a pseudo token (H).
        num_outputs: 1 for a score, else the number of classes.
    """

    def __init__(self, hidden_size: int, num_outputs: int) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.layers = nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, num_outputs))

    def forward(self, pseudo: Tensor) -> Tensor:
        """[B, K, H] to [B, num_outputs]."""
        outputs: Tensor = self.layers(pseudo.mean(dim=1))
        return outputs


@dataclass
class WarmStart:
    """Trains encoders, fuser and injector with a head of their own, which is then thrown away.

    Absolute error for scores, cross-entropy for classes. The adapter is left as it was after the epoch
    that was best on the validation split.

    Args:
        pipeline: Whose adapter is trained.
        samples: Where the samples come from.
        settings: Epochs, batch size, learning rate and the rest of it.
    """

    pipeline: Pipeline
    samples: Samples
    settings: TrainingConfig

    def run(self) -> Iterator[dict[str, Any]]:
        """Train; gives a record of each epoch. The adapter is final when all of them are taken."""
        is_score = self.pipeline.answers.task == "regression"
        num_outputs = 1 if is_score else len(self.pipeline.answers)
        self._head = Head(self.pipeline.backbone.hidden_size, num_outputs).to(self.pipeline.device)
        self._loss = self._absolute_error if is_score else nn.functional.cross_entropy
        self._prepare()
        best, best_state = float("inf"), deepcopy(self.pipeline.adapter.state_dict())
        for epoch in range(self.settings.warm_start_epochs):
            loss, valid = self._train_epoch(epoch), self._validate()
            if valid < best:
                best, best_state = valid, deepcopy(self.pipeline.adapter.state_dict())
            yield {"step": 0, "epoch": epoch + 1, "split": "warm start", "loss": loss, "valid_loss": valid}
        self.pipeline.adapter.load_state_dict(best_state)

    def _prepare(self) -> None:
        rows = self.samples.rows("train")
        labels = self.samples.labels(rows)
        self._centre, self._spread = float(np.median(labels)), float(labels.std()) or 1.0
        parameters = [p for module in self._modules for p in module.parameters()]
        self._optimizer = torch.optim.AdamW(
            parameters, self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        steps = self.settings.warm_start_epochs * -(-len(rows) // self.settings.batch_size)
        warmup = round(self.settings.warmup_share * steps)
        factor = partial(cosine_with_warmup, warmup_steps=warmup, horizon_steps=steps)
        self._schedule = LambdaLR(self._optimizer, factor)

    @property
    def _modules(self) -> tuple[nn.Module, nn.Module]:
        return self.pipeline.adapter, self._head

    def _absolute_error(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.l1_loss(outputs[:, 0], (labels - self._centre) / self._spread)

    def _train_epoch(self, epoch: int) -> float:
        for module in self._modules:
            module.train()
        rows, total = self.samples.rows("train"), 0.0
        lengths = self.samples.text_lengths(rows)
        batches = shuffled_batches(
            rows, lengths, self.settings.batch_size, seed=self.settings.seed, epoch=epoch
        )
        for part in self.samples.prefetched(batches):
            loss = self._loss_of(part, self.settings.modality_dropout)
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            if self.settings.gradient_clip is not None:
                nn.utils.clip_grad_norm_(self.pipeline.adapter.parameters(), self.settings.gradient_clip)
            self._optimizer.step()
            self._schedule.step()
            total += loss.item() * len(part)
        return total / len(rows)

    @torch.no_grad()
    def _validate(self) -> float:
        for module in self._modules:
            module.eval()
        rows = self.samples.rows("valid")
        return sum(self._loss_of(part, 0.0).item() * len(part) for part in in_parts(rows)) / len(rows)

    def _loss_of(self, rows: np.ndarray[Any, np.dtype[np.int64]], dropout: float) -> Tensor:
        batch = drop_modalities(self.samples.batch(rows).to(self.pipeline.device), dropout)
        _, injection = self.pipeline.inject(batch)
        auxiliary = injection.fused.auxiliary_loss
        labels = torch.tensor(self.samples.labels(rows), device=self.pipeline.device)
        labels = labels.float() if self._head.num_outputs == 1 else labels.long()
        loss = self._loss(self._head(injection.pseudo.float()), labels)
        return loss if auxiliary is None else loss + auxiliary
