"""Taking a modality away at evaluation time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from msakit.core.errors import InputError
from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msakit.core.pipeline.batch import Batch
    from msakit.samples.samples import Samples

How = Literal["absent", "mean", "shuffled"]


@dataclass(frozen=True, slots=True)
class Ablation:
    """What is taken away, and how.

    Attributes:
        modality: "text" or one of the pipeline's modalities.
        how: "absent": as if the sample never had it; "mean": every frame is the training split's mean;
            "shuffled": another sample's, chosen by a fixed permutation of the table.
    """

    modality: str
    how: How = "absent"


def ablate(batch: Batch, ablations: Iterable[Ablation], samples: Samples) -> Batch:
    """The batch with every ablation applied.

    Raises:
        InputError: The pipeline has no such modality, or the text has no mean.
    """
    for ablation in ablations:
        batch = _ablate(batch, ablation, samples)
    return batch


def _ablate(batch: Batch, ablation: Ablation, samples: Samples) -> Batch:
    name = ablation.modality
    if name != "text" and name not in batch.modalities:
        known = ", ".join(("text", *batch.modalities))
        msg = f"The pipeline has no modality '{name}' to do without; it has: {known}."
        raise InputError(msg)
    if ablation.how == "absent":
        return batch.without(name)
    if ablation.how == "mean":
        return _with_mean(batch, name, samples)
    donors = samples.batch(samples.donor_rows(batch.ids))
    if name == "text":
        return replace(batch, texts=donors.texts)
    return replace(batch, modalities={**batch.modalities, name: donors.modalities[name]})


def _with_mean(batch: Batch, name: str, samples: Samples) -> Batch:
    if name == "text":
        msg = "Text has no mean; use absent or shuffled."
        raise InputError(msg)
    sequence = batch.modalities[name]
    mean = torch.from_numpy(samples.statistics(name).mean).to(sequence.values)
    constant = Sequence(mean.expand_as(sequence.values), sequence.lengths)
    return replace(batch, modalities={**batch.modalities, name: constant})
