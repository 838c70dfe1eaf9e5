"""A whole pipeline: text and features in, loss or answer probabilities out.

Legend: B batch, A admissible answers, L text tokens, K pseudo tokens, H backbone width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from msakit.core.pipeline.answers import AnswerTrie
from msakit.core.pipeline.text_states import TextStateKind, TextStates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import Backbone, TokenInjector
    from msakit.core.pipeline.adapter import Adapter
    from msakit.core.pipeline.answers import AnswerSet, Reduction
    from msakit.core.pipeline.batch import Batch
    from msakit.core.pipeline.prompt import Prompt, PromptBuilder, PromptIds
    from msakit.core.tensors import Fused

ANSWER_TOKENS_TO_SPARE = 2


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a pipeline makes of a batch.

    Attributes:
        values: [B] scores or class indices; NaN where generated text could not be read.
        probabilities: [B, A] over the admissible answers, or None when text was generated.
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
        adapter: The trainable part.
        backbone: The language model.
        prompts: Builds token ids around a sample.
        answers: The admissible answers.
        text_states: What the fuser sees of the text.
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
        reduction: Reduction | None = None,
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.backbone = backbone
        self.prompts = prompts
        self.answers = answers
        self._text_states = TextStates(backbone, text_states)
        self.reduction = reduction
        self._answer_ids = [backbone.tokenize(text) for text in answers.texts]
        self.trie = AnswerTrie.build(self._answer_ids, end_id=backbone.end_id)

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
        What is computed ahead does not depend on the order of training, so a resumed run has the same.

        Args:
            samples: All samples of the run; their features are not looked at.
            on_batch: Told how many prompts are done, of how many.
        """
        ids = self._prompt_ids(samples)
        self.backbone.prepare(ids.before, on_batch)
        self._text_states.prepare(ids)

    def _prompt_ids(self, batch: Batch) -> PromptIds:
        return self.prompts.build(batch.texts, batch.contexts, batch.speakers)

    def assemble(self, batch: Batch) -> tuple[Prompt, Fused]:
        """The prompt of a batch, pseudo tokens and all, and what they were made of."""
        ids = self._prompt_ids(batch)
        injection = self.adapter(self._text_states(ids), batch.modalities)
        pseudo = injection.pseudo if injection.pseudo.shape[1] else None
        return ids.with_pseudo(pseudo), injection.fused

    def forward(self, batch: Batch) -> Tensor:
        """The training loss of a batch with labels: cross-entropy of the answers' tokens."""
        prompt, fused = self.assemble(batch)
        labels = batch.labels or []
        loss = self.backbone.answer_loss(
            prompt, [self.trie.answers[self.answers.index_of(label)] for label in labels]
        )
        return loss if fused.auxiliary_loss is None else loss + fused.auxiliary_loss

    def loss_weight(self, labels: Sequence[float]) -> float:
        """How much a batch's loss, a mean over its answers' tokens, weighs beside other batches'."""
        return float(sum(len(self.trie.answers[self.answers.index_of(label)]) for label in labels))

    def num_prompt_tokens(self, samples: Batch) -> NDArray[np.int64]:
        """[B] tokens of each sample's prompt, pseudo tokens included; features are not looked at."""
        ids = self._prompt_ids(samples)
        lengths = [len(before) + len(after) for before, after in zip(ids.before, ids.after, strict=True)]
        return np.array(lengths, np.int64) + int(cast("TokenInjector", self.adapter.injector).num_tokens)

    @torch.inference_mode()
    def predict(self, batch: Batch, *, generate: bool = False) -> Prediction:
        """Answer a batch: by scoring every admissible answer, or by greedy generation."""
        prompt, fused = self.assemble(batch)
        diagnostics = {name: value.float().cpu().numpy() for name, value in fused.diagnostics.items()}
        if generate:
            longest = max(len(ids) for ids in self._answer_ids) + ANSWER_TOKENS_TO_SPARE
            texts = [self.backbone.detokenize(ids) for ids in self.backbone.generate(prompt, longest)]
            parsed = [self.answers.parse(text).value for text in texts]
            values = np.array([np.nan if value is None else value for value in parsed])
            return Prediction(values, None, texts, diagnostics)
        scores = self.backbone.answer_scores(prompt, self.trie).cpu().numpy()
        values = self.answers.reduce(scores, self.reduction)
        return Prediction(values, self.answers.probabilities(scores), None, diagnostics)

    def adapter_state(self) -> dict[str, Tensor]:
        """The adapter's tensors, feature scaling included; LoRA weights are saved by the backbone."""
        return cast("dict[str, Tensor]", self.adapter.state_dict())
