"""Ragged token rows to padded tensors, and attention masks over them.

Rows are padded at the right. Under a causal mask no token sees what follows it, so padding there
cannot reach a real token, and a batch without a cached prefix needs no mask tensor at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SLOT = -1
"""Stands for a pseudo token in a row of token ids."""


def pad_rows(rows: Sequence[Sequence[int]], pad_id: int, *, left: bool = False) -> Tensor:
    """Ragged rows to [B, longest] int64."""
    width = max((len(row) for row in rows), default=0)
    table = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    for index, row in enumerate(rows):
        if row:
            place = slice(width - len(row), width) if left else slice(0, len(row))
            table[index, place] = torch.tensor(row)
    return table


def lengths_of(rows: Sequence[Sequence[int]]) -> Tensor:
    """[B] int64."""
    return torch.tensor([len(row) for row in rows], dtype=torch.int64)


def valid_mask(lengths: Tensor, width: int) -> Tensor:
    """[B, width] bool, true on the first `lengths` places."""
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def mask_after_prefix(prefix_lengths: Tensor, prefix_width: int, width: int) -> Tensor:
    """Mask of rows that follow a right-padded prefix: [B or 1, 1, width, prefix_width + width] bool.

    Every token sees the whole real prefix and, among its own row, what is not after it.
    """
    device = prefix_lengths.device
    causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()[None, None]
    if bool((prefix_lengths == prefix_width).all()):
        seen = torch.ones(1, 1, width, prefix_width, dtype=torch.bool, device=device)
        return torch.cat([seen, causal], dim=-1)
    batch = prefix_lengths.shape[0]
    seen = valid_mask(prefix_lengths, prefix_width)[:, None, None].expand(batch, 1, width, prefix_width)
    return torch.cat([seen, causal.expand(batch, 1, width, width)], dim=-1)


def mask_over_tree(context: Tensor, ancestors: Tensor) -> Tensor:
    """Mask of tree nodes that follow a prompt: [B, 1, N, S + N] bool.

    Args:
        context: [B, S] bool, the real tokens of the prompt.
        ancestors: [N, N] bool, which nodes a node sees.
    """
    batch, nodes = context.shape[0], ancestors.shape[0]
    seen = context[:, None, None].expand(batch, 1, nodes, context.shape[1])
    return torch.cat([seen, ancestors[None, None].expand(batch, 1, nodes, nodes)], dim=-1)
