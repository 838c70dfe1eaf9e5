"""The order in which a reader's rows are visited: shuffled batches that can stop and go on, prefetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from msakit.feature_store.errors import StoreError
from msakit.feature_store.reader import FeatureReader

Shuffle = Literal["global", "block", "none"]
Rows = npt.NDArray[np.int64]


@dataclass
class BatchOrder:
    """Batches of table rows, epoch after epoch, the same for the same seed on every machine.

    Iterating yields the rest of the current epoch and moves to the next one. `state_dict` taken between two
    batches and loaded into an equal order goes on with the batch that would have come.

    Attributes:
        rows: table rows to visit.
        batch_size: rows per batch; the last batch of an epoch may be smaller.
        seed: of the shuffling.
        shuffle: "global"; "block" shuffles runs of `block_size` rows and mixes `window` of them at once, for
            hard disks and network storage; "none" keeps the order.
        block_size: rows per run.
        window: runs mixed at a time.
    """

    rows: Rows
    batch_size: int
    seed: int = 0
    shuffle: Shuffle = "global"
    block_size: int = 64
    window: int = 4
    epoch: int = field(default=0, init=False)
    position: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.batch_size, self.block_size, self.window) < 1:
            raise StoreError("batch size, block size and window must be positive", "Pass at least 1.")

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        """Yield the remaining batches of the epoch."""
        order = self.epoch_order()
        while self.position < len(self):
            start = self.position * self.batch_size
            self.position += 1
            yield order[start : start + self.batch_size]
        self.epoch, self.position = self.epoch + 1, 0

    def epoch_order(self) -> Rows:
        """Return all rows in the order of the current epoch."""
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.shuffle == "none":
            return self.rows
        if self.shuffle == "global":
            return rng.permutation(self.rows)
        blocks = [self.rows[i : i + self.block_size] for i in range(0, len(self.rows), self.block_size)]
        mixed = [blocks[i] for i in rng.permutation(len(blocks))]
        windows = [mixed[i : i + self.window] for i in range(0, len(mixed), self.window)]
        return np.concatenate([rng.permutation(np.concatenate(part)) for part in windows] or [self.rows])

    def state_dict(self) -> dict[str, int]:
        """Return where the order stands."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from where another run stood.

        Raises:
            StoreError: when it was shuffled with another seed.
        """
        if state["seed"] != self.seed:
            raise StoreError(
                f"the state is of seed {state['seed']}, this order has {self.seed}", "Use the same seed."
            )
        self.epoch, self.position = state["epoch"], state["position"]


def prefetched(
    readers: Sequence[FeatureReader], batches: Iterable[Rows], lookahead: int = 4
) -> Iterator[Rows]:
    """Yield batches of rows while the system reads the next ones from the disk.

    Costs nothing to speak of when they are in memory. The state of a `BatchOrder` runs ahead by `lookahead`.
    """
    pending: list[Rows] = []
    for rows in batches:
        for reader in readers:
            reader.prefetch(rows)
        pending.append(rows)
        if len(pending) > lookahead:
            yield pending.pop(0)
    yield from pending
