"""Ragged random batches, and the ways in which a batch may change without its samples changing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from msakit.core.tensors import Encoded, Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Seq

Batch = dict[str, Sequence]


def random_batch(widths: Mapping[str, int], *, seed: int = 0) -> Batch:
    """Four samples of uneven lengths, of which one is a single frame, in every stream."""
    generator = torch.Generator().manual_seed(seed)
    lengths = {name: torch.tensor([5, 1, 3, 4]).roll(shift) for shift, name in enumerate(widths)}
    return {
        name: Sequence(torch.randn(4, 6, width, generator=generator), lengths[name])
        for name, width in widths.items()
    }


def fill_padding(batch: Batch, filler: float) -> Batch:
    """The batch with something else in its padding."""
    return {
        name: Sequence(stream.values.masked_fill(~stream.mask[..., None], filler), stream.lengths)
        for name, stream in batch.items()
    }


def pad_longer(batch: Batch, num_frames: int) -> Batch:
    """The batch with more padding."""
    return {
        name: Sequence(torch.nn.functional.pad(stream.values, (0, 0, 0, num_frames)), stream.lengths)
        for name, stream in batch.items()
    }


def select(batch: Batch, rows: Seq[int]) -> Batch:
    """Some samples of the batch, padded to no more than they need."""
    index = torch.tensor(rows)
    selected = {}
    for name, stream in batch.items():
        lengths = stream.lengths[index]
        selected[name] = Sequence(stream.values[index, : int(lengths.max())], lengths)
    return selected


def shorten(batch: Batch, length: int) -> Batch:
    """The batch cut to its first frames."""
    return {
        name: Sequence(stream.values[:, :length], stream.lengths.clamp(max=length))
        for name, stream in batch.items()
    }


def drop(batch: Batch, names: Seq[str], rows: Seq[int] | None = None) -> Batch:
    """The batch with streams absent for some samples (default: all), their frames left as garbage."""
    result = dict(batch)
    for name in names:
        lengths = batch[name].lengths.clone()
        lengths[list(rows) if rows is not None else slice(None)] = 0
        values = batch[name].values.masked_fill((lengths == 0)[:, None, None], float("nan"))
        result[name] = Sequence(values, lengths)
    return result


def cast(batch: Batch, dtype: torch.dtype) -> Batch:
    """The batch in another dtype."""
    return {name: Sequence(stream.values.to(dtype), stream.lengths) for name, stream in batch.items()}


def silence(batch: Batch, name: str) -> Batch:
    """The batch with zeros in every real frame of a stream, which is still there."""
    values = torch.zeros_like(batch[name].values)
    return {**batch, name: Sequence(values, batch[name].lengths)}


def to_device(batch: Batch, device: str) -> Batch:
    """The batch on another device."""
    return {name: stream.to(device) for name, stream in batch.items()}


def as_encoded(stream: Sequence) -> Encoded:
    """A stream as an encoder would give it: the frames, and their mean as summary.

    Absent samples get a summary of sevens, so that a fuser that does not look at `present` shows.
    """
    total = stream.values.masked_fill(~stream.mask[..., None], 0).sum(dim=1)
    summary = total / stream.lengths.clamp(min=1)[:, None].to(total.dtype)
    summary = summary.masked_fill(~stream.present[:, None], 7.0)
    return Encoded(present=stream.present, summary=summary, sequence=stream)
