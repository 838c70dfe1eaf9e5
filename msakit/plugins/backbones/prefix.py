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
    """Keys and values of a batch of prefixes.

    Attributes:
        states: For each layer, keys and values [2, B, heads, P, head width]; right-padded.
        lengths: Tokens of each prefix (B).
    """

    states: Sequence[Tensor]
    lengths: Tensor

    @property
    def width(self) -> int:
        """P, the longest prefix of the batch."""
        return int(self.states[0].shape[-2])

    def to_cache(self) -> DynamicCache:
        """A cache of transformers' that holds them and can grow without changing them."""
        return DynamicCache(self.layers())

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, [B, heads, P, head width] each."""
        return [(layer[0], layer[1]) for layer in self.states]


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
        return _stack([found[key].states for key in keys])

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
        for start in range(0, len(keys), batch_size):
            if self.num_bytes < self.budget_bytes:
                self._add(keys[start : start + batch_size])
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


def _stack(samples: Sequence[Tensor]) -> PrefixStates:
    """Per-sample states [layers, 2, heads, T, width] to one right-padded batch."""
    first = samples[0]
    lengths = torch.tensor([sample.shape[-2] for sample in samples], device=first.device)
    if all(sample is first for sample in samples):
        batch = first[:, :, None].expand(-1, -1, len(samples), -1, -1, -1)
        return PrefixStates(batch.unbind(0), lengths)
    layers, _, heads, _, width = first.shape
    batch = first.new_zeros(layers, 2, len(samples), heads, int(lengths.max()), width)
    for index, sample in enumerate(samples):
        batch[:, :, index, :, : sample.shape[-2]] = sample
    return PrefixStates(batch.unbind(0), lengths)
