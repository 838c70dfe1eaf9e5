"""Where the real frames of a padded sequence are.

Files of the field store every sequence at one common length, zeros after it (MMSA, MSE-Adapter) or before it
(MERTools, aligned MOSI). Zeros are cut only where the file's own length, or every modality at once, says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Span:
    """Frames `start:stop` of a stored sequence are real.

    `verdict` is "full" (nothing to cut), "back" or "front" (side of the padding cut away), "absent" (nothing
    but zeros and a length of at most 1: a missing modality), "disagree" (frames outside the stated length are
    not zero, so all are kept) or "longer" (the stated length exceeds the stored frames, cut earlier on).
    """

    start: int
    stop: int
    verdict: str


def find_span(values: Array, length: int) -> Span:
    """Locate the real frames of `values` [T, D] from the length the file states."""
    total = int(values.shape[0])
    if length <= 1 and not values.any():
        return Span(0, 0, "absent")
    if length > total:
        return Span(0, total, "longer")
    if length == total:
        return Span(0, total, "full")
    if length > 0 and not values[length:].any():
        return Span(0, length, "back")
    if length > 0 and not values[: total - length].any():
        return Span(total - length, total, "front")
    return Span(0, total, "disagree")


def zero_margins(values: Array) -> tuple[int, int]:
    """All-zero frames before and after the others, of `values` [T, D]; (T, 0) when every frame is zero."""
    used = np.flatnonzero(values.any(axis=1))
    if used.size == 0:
        return int(values.shape[0]), 0
    return int(used[0]), int(values.shape[0] - 1 - used[-1])


def choose_side(margins: Iterable[tuple[int, int]]) -> str:
    """Side on which a corpus without lengths is padded: "back", "front" or "none".

    A side counts as padded when samples have zero frames there and (but for one in twenty) none on the other
    side; zeros on both sides are taken for data.
    """
    front = back = padded = 0
    for before, after in margins:
        front += before > 0 and after == 0
        back += after > 0 and before == 0
        padded += before > 0 or after > 0
    if padded and back >= 0.95 * padded:
        return "back"
    if padded and front >= 0.95 * padded:
        return "front"
    return "none"


def cut_margin(total: int, margins: tuple[int, int], side: str) -> Span:
    """Span of a sequence of `total` frames when zero frames on `side` are padding."""
    before, after = margins
    if side == "back" and after:
        return Span(0, total - after, "back")
    if side == "front" and before:
        return Span(before, total, "front")
    return Span(0, total, "full")


@dataclass
class PaddingTally:
    """Counts of verdicts for one modality of one split, with the length it was padded to."""

    padded_length: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)

    def add(self, total: int, span: Span) -> None:
        """Count one sample."""
        self.padded_length = max(self.padded_length, total)
        self.verdicts[span.verdict] += 1

    @property
    def side(self) -> str:
        """Side to pad on again at export."""
        return "front" if self.verdicts["front"] > self.verdicts["back"] else "back"
