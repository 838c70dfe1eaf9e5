"""What a training costs, before it is begun: memory by arithmetic, time by a short probe.

Memory is of the heaviest training step, on the device of the backbone. Weights, trained parameters and the
prefix cache are counted. What autograd keeps for the backward pass is counted too, tensor by tensor, on the
forward passes of two and of four samples of that step, and scales with the samples; so the step itself need
not fit into memory. On a CPU, freed blocks that the allocator finds no use for are allowed for. Libraries and
the device's own context come on top: `benchmarks/memory.py` measures how much.

Legend: B samples of a step, N answer tokens of a step, V vocabulary.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch

from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.parameters import BYTES_PER_TRAINED_WEIGHT
from msakit.samples.order import shuffled_batches
from msakit.samples.samples import Samples
from msakit.training.parts import StepPlan
from msakit.workflows.study import backbone_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry
    from msakit.workflows.study import Cell

COUNTED = (2, 4)  # samples of the forward passes whose tensors are counted
TIMED_STEPS = 2
TIMED_PREFIXES = 16
# Beside the log-probabilities that autograd keeps: their gradient, and that of the logits.
LOGIT_GRADIENTS = 2
# Freed blocks that glibc 2.36 holds, as a share of the activations: measured by benchmarks/memory.py.
GAPS_FROZEN, GAPS_LORA = 1 / 3, 2 / 3


@runtime_checkable
class SizedBackbone(Protocol):
    """A backbone that says what its vocabulary and prepared prompts take; of others neither is counted."""

    vocab_size: int

    def prepared_bytes(self, before: Sequence[Sequence[int]]) -> int:
        """Memory that `prepare` would take for these distinct prompts."""
        ...


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a training; memory in bytes, time in seconds.

    Attributes:
        weights: The backbone's weights.
        trained: Trained parameters with gradients and AdamW's two moments, float32.
        activations: What the heaviest step keeps for its backward pass.
        gaps: Freed blocks that a CPU's allocator has no use for meanwhile; 0 on other devices.
        logits: Gradients over the vocabulary at the answers' tokens; 0 where a head answers.
        prefix_cache: Keys and values of the texts' prompts; 0 in the paper layout and with LoRA.
        step_samples: Samples of the heaviest step that are computed at once (B).
        step_tokens: Tokens of its longest prompt.
        prepare_s: Once, ahead of the training: filling the prefix cache.
        epoch_s: One pass over the training split.
        validation_s: One pass over the validation split.
        epochs: At most.
    """

    weights: int
    trained: int
    activations: int
    gaps: int
    logits: int
    prefix_cache: int
    step_samples: int
    step_tokens: int
    prepare_s: float
    epoch_s: float
    validation_s: float
    epochs: int

    @property
    def memory(self) -> int:
        """Bytes of all of it together."""
        step = self.activations + self.gaps + self.logits
        return self.weights + self.trained + step + self.prefix_cache

    @property
    def longest_s(self) -> float:
        """Seconds if no epoch is spared by early stopping."""
        return self.prepare_s + self.epochs * (self.epoch_s + self.validation_s)


def estimate_cost(
    resolved: ResolvedPipeline, registry: Registry, store: Path, *, backbone: Backbone | None = None
) -> tuple[Cost, Pipeline]:
    """Estimate a training's cost; loads the backbone and runs a few batches, trains and writes nothing.

    Args:
        resolved: The pipeline.
        registry: The components.
        store: The samples.
        backbone: A loaded backbone of the same settings, to be used instead of loading it again.

    Returns:
        The cost, and the pipeline that was built.

    Raises:
        DataError: The store does not hold what the pipeline needs.
    """
    samples = Samples.open(store, resolved)
    pipeline = build_pipeline(resolved, registry, widths=samples.widths, backbone=backbone)
    return Probe(pipeline, samples, resolved).cost(), pipeline


def estimate_study(cells: Iterable[Cell], registry: Registry, store: Path) -> dict[str, Cost]:
    """The cost of one run of each system; frozen backbones of equal settings are loaded once.

    Raises:
        DataError: The store does not hold what a pipeline needs.
    """
    costs: dict[str, Cost] = {}
    backbone, key = None, ""
    for cell in cells:
        if cell.system in costs:
            continue
        if (settings := backbone_settings(cell.resolved)) != key or not cell.resolved.backbone_is_frozen:
            backbone, key = None, settings
        costs[cell.system], pipeline = estimate_cost(cell.resolved, registry, store, backbone=backbone)
        backbone = pipeline.backbone
    return costs


class Probe:
    """Counts and times parts of a training.

    Args:
        pipeline: Untrained.
        samples: Where the samples come from.
        resolved: The pipeline's settings.
    """

    def __init__(self, pipeline: Pipeline, samples: Samples, resolved: ResolvedPipeline) -> None:
        self._pipeline = pipeline
        self._samples = samples
        self._resolved = resolved
        self._settings = resolved.config.training
        self._tokens = pipeline.num_prompt_tokens(samples.words())

    def cost(self) -> Cost:
        """All of it."""
        rows, valid = self.heaviest(), self._samples.rows("valid")
        return Cost(
            **self.memory(),
            step_samples=len(rows),
            step_tokens=int(self._tokens[rows].max()),
            prepare_s=self._prepare_seconds(),
            epoch_s=self._step_seconds() * len(self._parts) if self._trains else 0.0,
            validation_s=self._scoring_seconds(valid) * len(valid),
            epochs=self._settings.epochs,
        )

    def memory(self) -> dict[str, int]:
        """Bytes by what takes them, under the names that `Cost` has for them."""
        rows = self.heaviest()
        trained = self._pipeline.trainable_parameters().values()
        activations = self._activation_bytes(rows) if self._trains else 0
        return {
            "weights": self._weight_bytes(),
            "trained": BYTES_PER_TRAINED_WEIGHT * sum(parameter.numel() for parameter in trained),
            "activations": activations,
            "gaps": self._gap_bytes(activations),
            "logits": self._logit_bytes(rows) if self._trains else 0,
            "prefix_cache": self._cache_bytes(),
        }

    def heaviest(self) -> NDArray[np.int64]:
        """The rows with the most prompt tokens, padding included, that are computed at once."""
        return max(self._parts, key=lambda rows: len(rows) * int(self._tokens[rows].max()))

    @property
    def _trains(self) -> bool:
        return bool(self._pipeline.trainable_parameters())

    @cached_property
    def _parts(self) -> list[NDArray[np.int64]]:
        """What is computed at once in the first epoch, step after step."""
        plan, rows = StepPlan(self._pipeline, self._samples, self._settings), self._samples.rows("train")
        lengths = self._samples.text_lengths(rows)
        batches = shuffled_batches(rows, lengths, plan.samples_per_step, seed=self._settings.seed, epoch=0)
        return [part.rows for batch in batches for part in plan.parts(batch)]

    # Memory

    def _weight_bytes(self) -> int:
        trained = {id(p) for p in self._pipeline.trainable_parameters().values()}
        tensors = [p for p in self._pipeline.parameters() if id(p) not in trained]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def _activation_bytes(self, rows: NDArray[np.int64]) -> int:
        """What autograd keeps of a step: that of few samples, extrapolated to all of them."""
        longest = self._longest_first(rows)
        if len(longest) <= COUNTED[1]:
            return self._kept_bytes(longest)
        few, more = (self._kept_bytes(longest[:count]) for count in COUNTED)
        per_sample = (more - few) / (COUNTED[1] - COUNTED[0])
        return round(few + per_sample * (len(rows) - COUNTED[0]))

    def _longest_first(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The step's rows; the first two have the most tokens and the most frames: all are padded to them."""
        sequences = self._samples.batch(rows).modalities.values()
        lengths = [sequence.lengths.numpy() for sequence in sequences]
        frames = np.max([np.zeros(len(rows), np.int64), *lengths], axis=0)
        order = np.argsort(-self._tokens[rows], kind="stable")
        first = [order[0], max(order[1:], key=lambda place: frames[place], default=order[0])]
        return rows[[*dict.fromkeys([*first, *order])]]

    def _gap_bytes(self, activations: int) -> int:
        if self._pipeline.device.type != "cpu":
            return 0
        share = GAPS_FROZEN if self._resolved.backbone_is_frozen else GAPS_LORA
        return round(share * activations)

    def _kept_bytes(self, rows: NDArray[np.int64]) -> int:
        """Bytes of the distinct tensors that a forward pass keeps for the backward pass."""
        own = {p.untyped_storage().data_ptr() for p in self._pipeline.parameters()}
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = tensor
            return tensor

        self._pipeline.train()
        batch = self._samples.batch(rows).to(self._pipeline.device)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self._pipeline(batch)
        found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
        del loss
        return found

    def _logit_bytes(self, rows: NDArray[np.int64]) -> int:
        backbone = self._pipeline.backbone
        if self._pipeline.adapter.head is not None or not isinstance(backbone, SizedBackbone):
            return 0
        count = self._pipeline.num_losses(self._samples.labels(rows).tolist())
        return LOGIT_GRADIENTS * 4 * count * backbone.vocab_size

    @cached_property
    def _prefixes(self) -> list[list[int]]:
        """The distinct token rows that `prepare` would be given."""
        before = self._pipeline.prompt_ids(self._samples.words()).before
        return [list(row) for row in dict.fromkeys(map(tuple, before)) if row]

    def _cache_bytes(self) -> int:
        backbone = self._pipeline.backbone
        return backbone.prepared_bytes(self._prefixes) if isinstance(backbone, SizedBackbone) else 0

    # Time

    def _prepare_seconds(self) -> float:
        chosen = self._prefixes[:: max(1, len(self._prefixes) // TIMED_PREFIXES)]
        seconds = self._seconds(lambda: self._pipeline.backbone.prepare(chosen))
        return seconds / max(1, len(chosen)) * len(self._prefixes)

    def _prepare_known(self, rows: NDArray[np.int64]) -> None:
        """Compute ahead, as a training does, what the head on a frozen backbone reads of these rows."""
        if self._pipeline.known_states is not None:
            self._pipeline.prepare(self._samples.words(rows))

    def _step_seconds(self) -> float:
        """Mean seconds of steps of middling size, after one that warms up."""
        ordered = sorted(self._parts, key=lambda rows: int(self._tokens[rows].sum()))
        middle = max(0, (len(ordered) - TIMED_STEPS) // 2)
        chosen = ordered[middle : middle + TIMED_STEPS]
        self._prepare_known(np.concatenate(chosen))
        self._step(chosen[0])
        return sum(self._seconds(partial(self._step, rows)) for rows in chosen) / len(chosen)

    def _step(self, rows: NDArray[np.int64]) -> None:
        self._pipeline.train()
        torch.autograd.backward(self._pipeline(self._samples.batch(rows).to(self._pipeline.device)))
        self._pipeline.zero_grad(set_to_none=True)

    def _scoring_seconds(self, rows: NDArray[np.int64]) -> float:
        """Seconds a sample, of one batch."""
        chosen = rows[: self._settings.evaluation_batch_size]
        self._pipeline.eval()
        self._prepare_known(chosen)
        batch = self._samples.batch(chosen).to(self._pipeline.device)
        return self._seconds(lambda: self._pipeline.predict(batch)) / len(chosen)

    def _seconds(self, work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        if self._pipeline.device.type == "cuda":
            torch.cuda.synchronize(self._pipeline.device)
        return time.perf_counter() - started
