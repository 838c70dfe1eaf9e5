"""The text states that a fuser reads.

Legend: B batch, L text tokens, H backbone width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from msakit.core.pipeline.answer_states import AnswerStates
from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.prompt import PromptIds

TextStateKind = Literal["embeddings", "contextual", "answer"]


class TextStates:
    """Text as a sequence of vectors, none of which ever gets a gradient.

    embeddings: word embeddings [B, L, H], as MSE-Adapter, CMPTA and EGMF have it. contextual: the plain
    backbone's last hidden states of the utterance [B, L, H]. answer: one vector [B, 1, H], the plain
    backbone's state where it has read utterance and task prompt and is about to answer; what it makes of
    the text for this very task. Ours, not the papers': a fuser that multiplies text with voice and face
    needs far fewer samples to learn from it. Computed once for each distinct utterance and backbone.

    Args:
        backbone: The language model.
        kind: Which of the three.
    """

    def __init__(self, backbone: Backbone, kind: TextStateKind) -> None:
        self._backbone = backbone
        self._kind = kind
        self._answer_states = AnswerStates(backbone)

    def __call__(self, ids: PromptIds) -> Sequence:
        """States of a batch; a sample without text has length 0."""
        with torch.inference_mode(mode=False), torch.no_grad():
            if self._kind == "embeddings":
                return self._backbone.embed(ids.text)
            if self._kind == "contextual":
                return self._backbone.encode_text(ids.text)
            return self._before_answering(ids)

    def prepare(self, ids: PromptIds) -> None:
        """Compute ahead what is computed once for each utterance, in an order of its own."""
        if self._kind == "answer":
            self._answer_states.prepare(ids.before, ids.after)

    def _before_answering(self, ids: PromptIds) -> Sequence:
        states = self._answer_states(ids.before, ids.after)
        lengths = torch.tensor([1 if text else 0 for text in ids.text], device=self._backbone.device)
        return Sequence(states[:, None], lengths)
