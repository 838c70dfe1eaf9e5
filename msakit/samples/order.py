"""Which samples stand together in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOL_BATCHES = 32
SCAN_BATCH = 64


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much is computed at once.

    Attributes:
        samples: Samples at most.
        tokens: Prompt tokens at most, padding included; None for no limit.
    """

    samples: int
    tokens: int | None = None


def shuffled_batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Random batches of samples of similar length.

    Samples are shuffled, sorted by length within pools of some batches, cut into batches, and the
    batches shuffled. The same seed and epoch give the same batches, which is what makes resuming exact.

    Args:
        rows: [N] table rows.
        lengths: [N] length of each row's sample, in any unit.
        batch_size: Samples a batch; the last one may be smaller.
        seed: The run's seed.
        epoch: Counted from 0.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(rows))
    pool = batch_size * POOL_BATCHES
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    ordered = [part[np.argsort(lengths[part], kind="stable")] for part in pools]
    batches = [part[at : at + batch_size] for part in ordered for at in range(0, len(part), batch_size)]
    return [rows[batches[index]] for index in generator.permutation(len(batches))]


def sorted_batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int
) -> list[NDArray[np.int64]]:
    """Batches for evaluation, longest first: what does not fit in memory fails at once."""
    order = np.argsort(-lengths, kind="stable")
    return [rows[order[at : at + batch_size]] for at in range(0, len(order), batch_size)]


def parts_within(
    rows: NDArray[np.int64], num_tokens: NDArray[np.int64], limits: BatchLimits
) -> list[NDArray[np.int64]]:
    """A batch in parts small enough to be computed at once, in the order of the batch.

    Args:
        rows: [N] the batch's table rows.
        num_tokens: [N] tokens of each row's prompt.
        limits: What a part has at most; a sample with more tokens stands alone.
    """
    parts: list[list[int]] = []
    longest = 0
    for row, length in zip(rows.tolist(), num_tokens.tolist(), strict=True):
        longest = max(longest, length)
        fits = bool(parts) and len(parts[-1]) < limits.samples
        if fits and (limits.tokens is None or (len(parts[-1]) + 1) * longest <= limits.tokens):
            parts[-1].append(row)
        else:
            parts.append([row])
            longest = length
    return [np.array(part, np.int64) for part in parts]


def in_parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows in parts of `SCAN_BATCH`, for work that needs no particular batches."""
    return [rows[start : start + SCAN_BATCH] for start in range(0, len(rows), SCAN_BATCH)]
