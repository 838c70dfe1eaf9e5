"""The prompt of a batch: token ids around a slot of pseudo tokens.

Paper layout (MSE-Adapter): `[start] <Multimodal> P1..PK text </Multimodal> task-prompt`, with the
text after the pseudo tokens. `late` puts the pseudo tokens last, so that all before them is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """A batch of prompts; nothing is padded yet, the backbone pads a batch as a whole.

    Attributes:
        before: Token ids of each sample before its pseudo tokens (B lists).
        after: Token ids of each sample after them (B lists).
        pseudo: Pseudo tokens [B, K, H], or None for a text-only prompt.
    """

    before: Sequence[Sequence[int]]
    after: Sequence[Sequence[int]]
    pseudo: Tensor | None = None

    def __len__(self) -> int:
        return len(self.before)
