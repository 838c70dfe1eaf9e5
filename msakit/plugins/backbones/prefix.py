"""Keys and values of prompt prefixes, computed once for a frozen backbone.

What stands before the pseudo tokens never changes while the backbone is frozen. In the paper layout
it is the same few tokens for every sample; in the late layout it is a sample's whole text, whose keys
and values are kept from epoch to epoch as far as memory allows. Entries are never evicted: an epoch
visits every sample once, so keeping the first ones gives the best hit rate a cache of that size can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prefix:
    """The backbone's states for one prefix.

    Attributes:
        states: Keys and values [layers, 2, heads, T, head width].
        last: Last-layer state after its last token [H].
    """

    states: Tensor
    last: Tensor

    @property
    def num_bytes(self) -> int:
        """Memory it takes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.states, self.last))


@dataclass(frozen=True, slots=True)
class PrefixStates:
    """Keys and values of a batch of prefixes, put together layer by layer when a layer asks for its own.

    Attributes:
        samples: Keys and values of each prefix [layers, 2, heads, T, head width] (B).
        lengths: Tokens of each prefix (B).
    """

    samples: Sequence[Tensor]
    lengths: Tensor

    @classmethod
    def of(cls, samples: Sequence[Tensor]) -> PrefixStates:
        """Those of these prefixes."""
        lengths = [sample.shape[-2] for sample in samples]
        return cls(samples, torch.tensor(lengths, device=samples[0].device))

    @property
    def width(self) -> int:
        """P, the longest prefix of the batch."""
        return max(sample.shape[-2] for sample in self.samples)

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, right-padded [B, heads, P, head width]; views where all are one."""
        first = self.samples[0][index]
        if all(sample is self.samples[0] for sample in self.samples):
            keys, values = first[:, None].expand(-1, len(self.samples), -1, -1, -1)
            return keys, values
        batch = first.new_zeros(2, len(self.samples), first.shape[1], self.width, first.shape[3])
        for place, sample in enumerate(self.samples):
            batch[:, place, :, : sample.shape[-2]] = sample[index]
        return batch[0], batch[1]

    def to_cache(self) -> DynamicCache:
        """A cache of transformers' that holds a copy of them and can grow."""
        return DynamicCache(self.layer(index) for index in range(len(self.samples[0])))


class PrefixCache:
    """Computes prefixes through a function and keeps them up to a number of bytes.

    Args:
        compute: Ragged token ids to one `Prefix` each.
        budget_bytes: How much may be kept.
    """

    def __init__(
        self, compute: Callable[[Sequence[tuple[int, ...]]], list[Prefix]], budget_bytes: int
    ) -> None:
        self._compute = compute
        self.budget_bytes = budget_bytes
        self._kept: dict[tuple[int, ...], Prefix] = {}
        self.num_bytes = 0
        self.num_hits = 0
        self.num_misses = 0

    def get(self, prefixes: Sequence[Sequence[int]]) -> PrefixStates:
        """Keys and values of a batch of prefixes, each at least one token long."""
        keys = [tuple(prefix) for prefix in prefixes]
        found = {key: self._kept[key] for key in dict.fromkeys(keys) if key in self._kept}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        self.num_hits += len(keys) - len(missing)
        self.num_misses += len(missing)
        found |= self._add(missing)
        return PrefixStates.of([found[key].states for key in keys])

    def fill(
        self,
        prefixes: Sequence[Sequence[int]],
        on_batch: Callable[[int, int], None] | None = None,
        batch_size: int = 16,
    ) -> None:
        """Compute prefixes ahead of use, in batches of like length, until the memory is used up.

        What a prefix is computed beside moves its numbers in the last bit. Filled ahead, they no longer
        depend on the order of training, so a resumed run has the same ones.
        """
        new = {tuple(prefix) for prefix in prefixes} - self._kept.keys()
        keys = sorted(new, key=lambda key: (len(key), key))
        has_room = True
        for start in range(0, len(keys), batch_size):
            if has_room:
                batch = keys[start : start + batch_size]
                self._add(batch)
                has_room = batch[-1] in self._kept  # those that follow are no shorter
            if on_batch:
                on_batch(min(start + batch_size, len(keys)), len(keys))

    def last_state(self, prefix: Sequence[int]) -> Tensor | None:
        """The last-layer state [H] after a prefix, if it is kept."""
        kept = self._kept.get(tuple(prefix))
        return None if kept is None else kept.last

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.num_bytes = 0

    def _add(self, keys: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Prefix]:
        if not keys:
            return {}
        # An evaluation in inference mode must not leave inference tensors to later training steps.
        with torch.inference_mode(mode=False), torch.no_grad():
            computed = dict(zip(keys, self._compute(keys), strict=True))
            for key, prefix in computed.items():
                self._keep(key, prefix)
        return computed

    def _keep(self, key: tuple[int, ...], prefix: Prefix) -> None:
        if self.num_bytes + prefix.num_bytes <= self.budget_bytes:
            self._kept[key] = Prefix(prefix.states.clone(), prefix.last.clone())
            self.num_bytes += prefix.num_bytes
