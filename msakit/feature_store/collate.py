"""Padded batches as torch tensors. The only module of the store that imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from msakit.feature_store.errors import StoreError
from msakit.feature_store.reader import FeatureReader, PaddedBatch, Rows

HALF_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TensorBatch:
    """A padded batch: values float32 [B, Tmax, D], lengths int64 [B], present bool [B]."""

    values: torch.Tensor
    lengths: torch.Tensor
    present: torch.Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> TensorBatch:
        """Move all three to a device."""
        return TensorBatch(
            self.values.to(device, non_blocking=non_blocking),
            self.lengths.to(device, non_blocking=non_blocking),
            self.present.to(device, non_blocking=non_blocking),
        )


def to_tensors(batch: PaddedBatch) -> TensorBatch:
    """Wrap a batch's arrays as tensors, without copying."""
    return TensorBatch(
        torch.from_numpy(batch.values), torch.from_numpy(batch.lengths), torch.from_numpy(batch.present)
    )


def read_tensors(reader: FeatureReader, rows: Rows) -> TensorBatch:
    """Read rows of one modality as tensors, values as float32.

    Half-precision features are converted by torch, which does it several times faster than numpy.
    """
    if reader.dtype not in HALF_DTYPES:
        return to_tensors(reader.read(rows))
    batch = reader.read(rows, as_stored=True)
    stored = torch.from_numpy(batch.values).view(HALF_DTYPES[reader.dtype])
    return TensorBatch(stored.float(), torch.from_numpy(batch.lengths), torch.from_numpy(batch.present))


class PinnedBuffer:
    """A page-locked buffer reused for every batch of one reader, for fast copies to a GPU.

    Args:
        reader: the reader it serves.
        batch_size: the largest batch (B).
    """

    def __init__(self, reader: FeatureReader, batch_size: int) -> None:
        if batch_size < 1:
            raise StoreError(f"batch size {batch_size} is not positive", "Pass at least 1.")
        longest = max(1, int(reader.lengths.max(initial=0)))
        self._reader = reader
        self._tensor = torch.empty(
            (batch_size, longest, reader.width), dtype=torch.float32, pin_memory=torch.cuda.is_available()
        )

    def read(self, rows: Rows) -> TensorBatch:
        """Read rows into the buffer; the result is valid until the next call."""
        batch = self._reader.read(rows, out=self._tensor.numpy())
        values = self._tensor[: batch.values.shape[0], : batch.values.shape[1]]
        return TensorBatch(values, torch.from_numpy(batch.lengths), torch.from_numpy(np.array(batch.present)))
