"""Modality dropout: training samples that lose voice, face or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from msakit.core.pipeline.batch import Batch


def drop_modalities(batch: Batch, share: float) -> Batch:
    """The batch with some modalities absent from a share of its samples, drawn from torch's generator.

    A sample that is drawn loses one of the non-empty subsets of its modalities, each as likely as the
    others: with voice and face, a third of them loses both and is left with its text. The text is never lost.
    """
    names = list(batch.modalities)
    if not share or not names:
        return batch
    drawn = torch.rand(len(batch)) < share
    subset = torch.randint(1, 2 ** len(names), (len(batch),))
    for position, name in enumerate(names):
        batch = batch.without_where(name, drawn & (subset >> position & 1).bool())
    return batch
