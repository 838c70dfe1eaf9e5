"""Two ways to read an answer off a backbone: from its next tokens, or by a head on its last hidden state.

Legend: B batch, A admissible answers, H backbone width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from msakit.core.pipeline.adapter import Scaler
from msakit.core.pipeline.loss import AnswerLosses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.answer_states import AnswerStates
    from msakit.core.pipeline.answers import AnswerSet, AnswerTrie, Reduction
    from msakit.core.pipeline.prompt import Prompt

HeadLoss = Literal["huber", "l1"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Answers of a batch: values [B], and probabilities [B, A], or None where there are none."""

    values: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None


class Readout(Protocol):
    """Reads answers, and says what the right ones would have cost."""

    def losses(self, prompt: Prompt, labels: Sequence[float]) -> AnswerLosses:
        """The loss of the right answers."""
        ...

    def counts(self, labels: Sequence[float]) -> list[int]:
        """How many losses each right answer has."""
        ...

    def read(self, prompt: Prompt) -> Reading:
        """The answers of a batch."""
        ...


class TokenReadout:
    """Scores the tokens of every admissible answer.

    Args:
        backbone: The language model.
        answers: The admissible answers.
        trie: The tree of their tokens.
        reduction: Which point of a score's distribution is the prediction; None takes the task's own.
    """

    def __init__(
        self, backbone: Backbone, answers: AnswerSet, trie: AnswerTrie, reduction: Reduction | None
    ) -> None:
        self._backbone = backbone
        self._answers = answers
        self._trie = trie
        self.reduction = reduction

    def losses(self, prompt: Prompt, labels: Sequence[float]) -> AnswerLosses:
        """Cross-entropy of each token of the right answers."""
        losses = self._backbone.answer_losses(prompt, self._right(labels))
        return AnswerLosses(losses, self.counts(labels))

    def counts(self, labels: Sequence[float]) -> list[int]:
        """One for each token of the answer."""
        return [len(answer) for answer in self._right(labels)]

    def _right(self, labels: Sequence[float]) -> list[tuple[int, ...]]:
        return [self._trie.answers[self._answers.index_of(label)] for label in labels]

    def read(self, prompt: Prompt) -> Reading:
        """Exact probabilities, and the point of them that is the prediction."""
        scores = self._backbone.answer_scores(prompt, self._trie).cpu().numpy()
        return Reading(self._answers.reduce(scores, self.reduction), self._answers.probabilities(scores))


class AnswerHead(nn.Module):
    """One linear layer on the backbone's last hidden state, scaled per dimension.

    A few dimensions of a language model's state are a hundred times larger than the others, so it is
    scaled by what the untrained pipeline's states are on the training split (`scaler`, fitted once).

    Args:
        hidden_size: Width of the state (H).
        num_outputs: One a class; 1 for a score.
        loss: For scores. huber is quadratic within a sixth of the label range and linear beyond.
    """

    def __init__(self, hidden_size: int, num_outputs: int, loss: HeadLoss = "huber") -> None:
        super().__init__()
        self.loss = loss
        self.scaler = Scaler(hidden_size)
        self.linear = nn.Linear(hidden_size, num_outputs)

    def forward(self, states: Tensor) -> Tensor:
        """States [B, H] to outputs [B, num_outputs], float32."""
        outputs: Tensor = self.linear(self.scaler.scale(states.float()))
        return outputs


class HeadReadout:
    """Reads the answer by a head: a score trained with Huber or L1, or classes with softmax.

    Args:
        backbone: The language model.
        answers: The admissible answers; a score is kept within their range.
        head: The head.
        known: Where the states come from that it reads, if nothing changes them: without pseudo tokens.
    """

    def __init__(
        self, backbone: Backbone, answers: AnswerSet, head: AnswerHead, known: AnswerStates | None = None
    ) -> None:
        self._backbone = backbone
        self._answers = answers
        self._head = head
        self._known = known

    def _states(self, prompt: Prompt) -> Tensor:
        """What the head reads, [B, H]."""
        if self._known is None:
            return self._backbone.last_states(prompt)
        return self._known(prompt.before, prompt.after)

    @torch.no_grad()
    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Scale what the head reads by what it is on these prompts, per dimension."""
        states = torch.cat([self._states(prompt) for prompt in prompts])
        self._head.scaler.fit(states.mean(dim=0), states.std(dim=0, unbiased=False))

    def losses(self, prompt: Prompt, labels: Sequence[float]) -> AnswerLosses:
        """One loss a sample."""
        outputs = self._head(self._states(prompt))
        return AnswerLosses(self._losses(outputs, outputs.new_tensor(list(labels))), [1] * len(labels))

    def _losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if self._answers.task == "classification":
            return functional.cross_entropy(outputs, labels.long(), reduction="none")
        if self._head.loss == "l1":
            return functional.l1_loss(outputs[:, 0], labels, reduction="none")
        delta = (self._answers.values[-1] - self._answers.values[0]) / 6
        return functional.huber_loss(outputs[:, 0], labels, reduction="none", delta=delta)

    def counts(self, labels: Sequence[float]) -> list[int]:
        """One a sample."""
        return [1] * len(labels)

    @torch.no_grad()
    def read(self, prompt: Prompt) -> Reading:
        """Class probabilities and the likeliest class; or a score, which has no probabilities."""
        outputs = self._head(self._states(prompt)).cpu().double()
        if self._answers.task == "classification":
            chances = torch.softmax(outputs, dim=-1).numpy()
            return Reading(chances.argmax(axis=-1).astype(np.float64), chances)
        low, high = self._answers.values[0], self._answers.values[-1]
        return Reading(outputs[:, 0].clamp(low, high).numpy(), None)
