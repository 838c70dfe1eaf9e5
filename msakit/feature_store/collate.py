"""Padded batches as torch tensors. The only module of the store that imports torch."""

from __future__ import annotations

import torch

from msakit.feature_store.reader import FeatureReader, Rows

HALF_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def read_tensors(reader: FeatureReader, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Read rows of one modality as tensors.

    Half-precision features are converted by torch, which does it several times faster than numpy.

    Returns:
        Values float32 [B, Tmax, D], zero behind each sequence's end, and lengths int64 [B], 0 where absent.
    """
    half = HALF_DTYPES.get(reader.dtype)
    batch = reader.read(rows, as_stored=half is not None)
    values = torch.from_numpy(batch.values)
    return values if half is None else values.view(half).float(), torch.from_numpy(batch.lengths)
