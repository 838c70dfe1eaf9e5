"""A backbone's state where it has read a whole prompt, without pseudo tokens, and is about to answer.

Legend: B batch, H backbone width.
"""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from msakit.core.interfaces import Backbone

BATCH = 16
Row = tuple[tuple[int, ...], tuple[int, ...]]
# These states stay the same while the backbone lives, whatever is trained around it: the systems of a study
# share them.
_kept: WeakKeyDictionary[Backbone, dict[Row, Tensor]] = WeakKeyDictionary()


class AnswerStates:
    """What the plain backbone (LoRA is off) makes of prompts, without gradient; of prepared ones once.

    Args:
        backbone: The language model.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._states = _kept.setdefault(backbone, {})

    def __call__(self, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> Tensor:
        """The states [B, H], float32, of prompts in two parts of token ids."""
        rows = _rows(before, after)
        states = ChainMap(self._compute(rows), self._states)
        return torch.stack([states[row] for row in rows])

    def prepare(
        self,
        before: Sequence[Sequence[int]],
        after: Sequence[Sequence[int]],
        on_batch: Callable[[int, int], None] | None = None,
    ) -> None:
        """Compute them ahead and keep them.

        The order is their own, so a resumed training has the same ones to the last bit.

        Args:
            before: As for a call.
            after: As for a call.
            on_batch: Told how many prompts are done, of how many.
        """
        rows = sorted(set(_rows(before, after)), key=lambda row: (len(row[0]) + len(row[1]), row))
        for start in range(0, len(rows), BATCH):
            self._states |= self._compute(rows[start : start + BATCH])
            if on_batch:
                on_batch(min(start + BATCH, len(rows)), len(rows))

    def _compute(self, rows: list[Row]) -> dict[Row, Tensor]:
        """The states of those of these prompts whose states are not kept."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._states]
        if not missing:
            return {}
        before, after = zip(*missing, strict=True)
        # An evaluation in inference mode must not leave inference tensors to later training steps.
        with torch.inference_mode(mode=False), torch.no_grad():
            return dict(zip(missing, self._backbone.read(before, after).unbind(), strict=True))


def _rows(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[Row]:
    return [(tuple(first), tuple(second)) for first, second in zip(before, after, strict=True)]
