"""A whole pipeline: text and features in, loss or answer probabilities out.

Legend: B batch, A admissible answers, L text tokens, K pseudo tokens, H backbone width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from msakit.core.pipeline.answer_states import AnswerStates
from msakit.core.pipeline.answers import AnswerTrie
from msakit.core.pipeline.loss import LossWeighting
from msakit.core.pipeline.prompt import answer_tokens
from msakit.core.pipeline.readout import HeadReadout, TokenReadout
from msakit.core.pipeline.text_states import TextStateKind, TextStates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import Backbone, TokenInjector
    from msakit.core.pipeline.adapter import Adapter, Injection
    from msakit.core.pipeline.answers import AnswerSet, Reduction
    from msakit.core.pipeline.batch import Batch
    from msakit.core.pipeline.prompt import Continuation, Prompt, PromptBuilder, PromptIds
    from msakit.core.pipeline.readout import Readout
    from msakit.core.tensors import Fused

ANSWER_TOKENS_TO_SPARE = 2


@dataclass(frozen=True, slots=True)
class Prediction:
    """A pipeline's answers for a batch.

    Attributes:
        values: [B] scores or class indices; NaN where generated text could not be read.
        probabilities: [B, A] over the admissible answers; None for generated text and a head's score.
        texts: What was generated, or None when answers were scored.
        diagnostics: The fuser's diagnostics, name to [B, ...].
    """

    values: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    texts: list[str] | None
    diagnostics: Mapping[str, NDArray[Any]]


class Pipeline(nn.Module):
    """Adapter, prompt, backbone and answers, put together.

    Args:
        adapter: The trainable part; answers come from its head, or from tokens where it has none.
        backbone: The language model.
        prompts: Builds token ids around a sample.
        answers: The admissible answers.
        text_states: What the fuser sees of the text.
        continuation: Whether answers are tokenised as running text goes on after the prompt.
        reduction: Which point of a score's distribution is the prediction; None takes the task's own.
    """

    def __init__(
        self,
        adapter: Adapter,
        backbone: Backbone,
        prompts: PromptBuilder,
        answers: AnswerSet,
        *,
        text_states: TextStateKind = "embeddings",
        continuation: Continuation = "natural",
        reduction: Reduction | None = None,
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.backbone = backbone
        self.prompts = prompts
        self.answers = answers
        # Without pseudo tokens nobody looks at the text states: the kind that costs nothing will do.
        looked_at = self._num_pseudo_tokens > 0
        self._text_states = TextStates(backbone, text_states if looked_at else "embeddings")
        self.weighting = LossWeighting()
        self._answer_ids = answer_tokens(answers.texts, prompts.template.task, backbone, continuation)
        self.trie = AnswerTrie.build(self._answer_ids, end_id=backbone.end_id)
        self._readout: Readout = (
            TokenReadout(backbone, answers, self.trie, reduction)
            if adapter.head is None
            else HeadReadout(backbone, answers, adapter.head, self.known_states)
        )

    @property
    def _num_pseudo_tokens(self) -> int:
        return int(cast("TokenInjector", self.adapter.injector).num_tokens)

    @cached_property
    def known_states(self) -> AnswerStates | None:
        """The states that a head reads, where nothing but the head is trained: they never change."""
        tuned = any(name.startswith("backbone.") for name in self.trainable_parameters())
        if self.adapter.head is None or self._num_pseudo_tokens or tuned:
            return None
        return AnswerStates(self.backbone)

    @property
    def device(self) -> torch.device:
        """Where the backbone runs."""
        return self.backbone.device

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Name to parameter for everything that is trained, LoRA included."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def prepare(self, samples: Batch, on_batch: Callable[[int, int], None] | None = None) -> None:
        """Let the backbone compute ahead what stands before the pseudo tokens of these samples.

        In the late layout that is nearly the whole prompt, computed once a run instead of once an epoch.
        Where a head on a frozen backbone is all that is trained, it is the state that the head reads.
        What is computed ahead does not depend on the order of training, so a resumed run has the same.

        Args:
            samples: All samples of the run; their features are not looked at.
            on_batch: Told how many prompts are done, of how many.
        """
        ids = self.prompt_ids(samples)
        if self.known_states is not None:
            self.known_states.prepare(ids.before, ids.after, on_batch)
            return
        self.backbone.prepare(ids.before, on_batch)
        self._text_states.prepare(ids)

    def prompt_ids(self, batch: Batch) -> PromptIds:
        """The token ids of the prompts of a batch, before and after the pseudo tokens."""
        return self.prompts.build(batch.texts, batch.contexts, batch.speakers)

    def fit_text_scaling(self, batches: Iterable[Batch]) -> None:
        """Scale text states by their mean and deviation over these samples, each state counting once."""
        if self.adapter.text_scaler is None:
            return
        width = self.backbone.hidden_size
        count, total, squares = 0, torch.zeros(width).double(), torch.zeros(width).double()
        for batch in batches:
            states = self._text_states(self.prompt_ids(batch))
            values = states.values[states.mask].cpu().double()
            count += len(values)
            total += values.sum(dim=0)
            squares += values.square().sum(dim=0)
        mean = total / max(1, count)
        deviation = (squares / max(1, count) - mean.square()).clamp(min=0).sqrt()
        self.adapter.text_scaler.fit(mean.to(self.device), deviation.to(self.device))

    def inject(self, batch: Batch) -> tuple[PromptIds, Injection]:
        """The prompts of a batch and what the adapter makes of it; the language model is not run."""
        ids = self.prompt_ids(batch)
        return ids, self.adapter(self._text_states(ids), batch.modalities)

    def assemble(self, batch: Batch) -> tuple[Prompt, Fused]:
        """The prompt of a batch, pseudo tokens and all, and what they were made of."""
        ids, injection = self.inject(batch)
        pseudo = injection.pseudo if injection.pseudo.shape[1] else None
        return ids.with_pseudo(pseudo), injection.fused

    def forward(self, batch: Batch) -> Tensor:
        """The training loss of a batch with labels: of the answers' tokens, or of the head."""
        prompt, fused = self.assemble(batch)
        labels = batch.labels or []
        loss = self.weighting(self._readout.losses(prompt, labels), labels)
        return loss if fused.auxiliary_loss is None else loss + fused.auxiliary_loss

    def loss_weight(self, labels: Sequence[float]) -> float:
        """How much a batch's loss, a weighted mean, weighs beside other batches'."""
        return self.weighting.divisor(self._readout.counts(labels), labels)

    def num_losses(self, labels: Sequence[float]) -> int:
        """How many losses these labels have: one for each answer token, or one a sample with a head."""
        return sum(self._readout.counts(labels))

    def num_prompt_tokens(self, samples: Batch) -> NDArray[np.int64]:
        """[B] tokens of each sample's prompt, pseudo tokens included; features are not looked at."""
        ids = self.prompt_ids(samples)
        lengths = [len(before) + len(after) for before, after in zip(ids.before, ids.after, strict=True)]
        return np.array(lengths, np.int64) + self._num_pseudo_tokens

    @torch.inference_mode()
    def predict(self, batch: Batch, *, generate: bool = False) -> Prediction:
        """Answer a batch: by scoring every admissible answer or by the head, or by greedy generation."""
        prompt, fused = self.assemble(batch)
        diagnostics = {name: value.float().cpu().numpy() for name, value in fused.diagnostics.items()}
        if generate:
            longest = max(len(ids) for ids in self._answer_ids) + ANSWER_TOKENS_TO_SPARE
            texts = [self.backbone.detokenize(ids) for ids in self.backbone.generate(prompt, longest)]
            parsed = [self.answers.parse(text).value for text in texts]
            values = np.array([np.nan if value is None else value for value in parsed])
            return Prediction(values, None, texts, diagnostics)
        reading = self._readout.read(prompt)
        return Prediction(reading.values, reading.probabilities, None, diagnostics)

    def fit_head(self, batches: Iterable[Batch]) -> None:
        """Scale the states that the head reads by what they are, per dimension, before any training."""
        if isinstance(self._readout, HeadReadout):
            self._readout.fit(self.assemble(batch)[0] for batch in batches)

    def adapter_state(self) -> dict[str, Tensor]:
        """The adapter's tensors, feature scaling included; LoRA weights are saved by the backbone."""
        return cast("dict[str, Tensor]", self.adapter.state_dict())
