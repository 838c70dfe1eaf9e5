"""The text states that a fuser reads.

Legend: B batch, L text tokens, H backbone width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import torch

from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from torch import Tensor

    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.prompt import PromptIds

TextStateKind = Literal["embeddings", "contextual", "answer"]
PREPARED_BATCH = 16
Row = tuple[tuple[int, ...], tuple[int, ...]]
# What a backbone makes of prompts without pseudo tokens stays the same while it lives, whatever is trained
# around it: the systems of a study share it.
_answer_states: WeakKeyDictionary[Backbone, dict[Row, Tensor]] = WeakKeyDictionary()


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
        self._answers = _answer_states.setdefault(backbone, {})

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
        if self._kind != "answer":
            return
        rows = sorted(set(_whole_rows(ids)), key=lambda row: (len(row[0]) + len(row[1]), row))
        with torch.inference_mode(mode=False), torch.no_grad():
            for start in range(0, len(rows), PREPARED_BATCH):
                self._read(rows[start : start + PREPARED_BATCH])

    def _read(self, rows: list[Row]) -> None:
        missing = [row for row in dict.fromkeys(rows) if row not in self._answers]
        if missing:
            before, after = zip(*missing, strict=True)
            self._answers |= dict(zip(missing, self._backbone.read(before, after).unbind(), strict=True))

    def _before_answering(self, ids: PromptIds) -> Sequence:
        rows = _whole_rows(ids)
        self._read(rows)
        lengths = torch.tensor([1 if text else 0 for text in ids.text], device=self._backbone.device)
        return Sequence(torch.stack([self._answers[row] for row in rows])[:, None], lengths)


def _whole_rows(ids: PromptIds) -> list[Row]:
    return [(tuple(before), tuple(after)) for before, after in zip(ids.before, ids.after, strict=True)]
