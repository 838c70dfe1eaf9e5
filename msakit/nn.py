"""Building blocks the built-in components share: everything that must not read padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from msakit.core.tensors import Encoded


def clean(sequence: Sequence) -> Sequence:
    """The same sequences with zeros in the padding and at least one frame.

    Padding may hold anything, NaN included, and NaN times a zero weight is still NaN; a batch in
    which everyone's modality is absent has no frame at all, which recurrent kernels refuse.
    """
    values = sequence.values.masked_fill(~sequence.mask[..., None], 0)
    if values.shape[1] == 0:
        values = values.new_zeros(values.shape[0], 1, values.shape[2])
    return Sequence(values, sequence.lengths)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, T, D] where the mask [B, T] is true, to [B, D]; zero where it nowhere is."""
    total = values.masked_fill(~mask[..., None], 0).sum(dim=1)
    return total / mask.sum(dim=1).clamp(min=1)[:, None].to(total.dtype)


def last_frame(sequence: Sequence) -> Tensor:
    """The last real frame, [B, T, D] to [B, D]; the first frame where the length is 0."""
    steps = (sequence.lengths - 1).clamp(min=0)[:, None, None]
    return sequence.values.gather(1, steps.expand(-1, 1, sequence.values.shape[2])).squeeze(1)


def reverse(sequence: Sequence) -> Tensor:
    """Real frames [B, T, D] in reverse order, still at the front; its own inverse."""
    steps = torch.arange(sequence.values.shape[1], device=sequence.values.device)[None, :]
    lengths = sequence.lengths[:, None]
    order = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return sequence.values.gather(1, order[..., None].expand_as(sequence.values))


def keep_present(values: Tensor, present: Tensor) -> Tensor:
    """The values [B, ...] with zeros for samples that lack the modality."""
    return values.masked_fill(~present.reshape(-1, *[1] * (values.dim() - 1)), 0)


def summary_of(encoded: Encoded) -> Tensor:
    """The summary [B, E] of an encoder that gives one; zeros where the modality is absent."""
    if encoded.summary is None:
        msg = "this fuser needs an encoder that gives a summary"
        raise ValueError(msg)
    return keep_present(encoded.summary, encoded.present)


def sequence_of(encoded: Encoded) -> Sequence:
    """The cleaned sequence [B, T, E] of an encoder that gives one."""
    if encoded.sequence is None:
        msg = "this fuser needs an encoder that gives a sequence"
        raise ValueError(msg)
    return clean(encoded.sequence)


def project(input_size: int, output_size: int) -> nn.Module:
    """A Linear where the widths differ, else the identity."""
    return nn.Linear(input_size, output_size) if input_size != output_size else nn.Identity()


class RMSScale(nn.Module):
    """Gives every vector the same root mean square, a learned scalar.

    Args:
        initial: The root mean square at the start of training.
    """

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(initial)))

    def forward(self, values: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        # The default epsilon depends on the dtype, and bfloat16's (0.008) would swamp small tokens.
        return self.scale * nn.functional.rms_norm(values, values.shape[-1:], eps=1e-8)


class SequenceLSTM(nn.Module):
    """A stack of LSTM layers over padded sequences, one or both directions, without packing.

    The backward direction reads each sample's real frames in reverse, so padding reaches neither
    direction; this equals packed sequences and is several times faster on CPU.

    Args:
        input_size: Feature width (D).
        hidden_size: Width of the state of each direction.
        num_layers: Stacked layers.
        bidirectional: Whether the sequence is read in both directions.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.output_size = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size] + [self.output_size] * (num_layers - 1)
        self.forward_layers = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(
            nn.LSTM(size, hidden_size, batch_first=True) for size in sizes if bidirectional
        )

    def forward(self, sequence: Sequence) -> Sequence:
        """Cleaned [B, T, D] to states [B, T, output_size]."""
        for index, layer in enumerate(self.forward_layers):
            states = layer(sequence.values)[0]
            if self.backward_layers:
                backward = self.backward_layers[index](reverse(sequence))[0]
                states = torch.cat([states, reverse(Sequence(backward, sequence.lengths))], dim=-1)
            sequence = Sequence(states, sequence.lengths)
        return sequence


class Attention(nn.Module):
    """Multi-head attention that ignores masked keys and adds nothing where all keys are masked.

    Args:
        size: Width of queries, keys and values.
        num_heads: Heads; must divide the width.
        dropout: Dropout on the attention weights.
    """

    def __init__(self, size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(size, num_heads, dropout, batch_first=True)

    def forward(
        self, queries: Tensor, keys: Tensor, key_mask: Tensor, *, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Queries [B, L, D] over keys [B, T, D] to [B, L, D] and, on demand, mean weights [B, L, T]."""
        ignore, some = ignored_keys(key_mask)
        mixed, weights = self.attention(
            queries, keys, keys, key_padding_mask=ignore, need_weights=need_weights
        )
        return keep_present(mixed, some), keep_present(weights, some) if need_weights else None


class TokenBlock(nn.Module):
    """Transformer self-attention over tokens some of which may be missing.

    Args:
        size: Token width.
        num_heads: Heads; must divide the width.
        num_layers: Layers; 0 leaves the tokens as they are.
        dropout: Dropout everywhere in a layer.
    """

    def __init__(self, size: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, num_heads, 4 * size, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B, K, D] with mask [B, K] to [B, K, D]; masked tokens come out as zeros."""
        ignore, _ = ignored_keys(mask)
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=ignore)
        return tokens.masked_fill(~mask[..., None], 0)


def ignored_keys(mask: Tensor) -> tuple[Tensor, Tensor]:
    """A key padding mask [B, T] no row of which is all true, and which rows [B] had any key.

    A softmax over no key at all is NaN, so such a row is given one key, and its result discarded.
    """
    some = mask.any(dim=1)
    ignore = ~mask
    ignore[:, 0] &= some
    return ignore, some
