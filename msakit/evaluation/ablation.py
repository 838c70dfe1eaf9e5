"""Taking a modality away at evaluation time."""

from __future__ import annotations

import hashlib
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
    """A modality to take away, and how.

    Attributes:
        modality: "text" or one of the pipeline's modalities.
        how: "absent": as if the sample never had it; "mean": every frame is the training split's mean;
            "shuffled": another sample's, chosen by a fixed permutation of the table.
        rate: Share of the samples it is taken from (absent only); which, only seed and sample id decide.
        seed: Of that choice.
    """

    modality: str
    how: How = "absent"
    rate: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a rate that is no share, or one that only `absent` knows."""
        if not 0 <= self.rate <= 1 or (self.rate < 1 and self.how != "absent"):
            raise InputError(f"{self.modality}: a missing rate is a share from 0 to 1, got {self.rate:g}.")

    @property
    def described(self) -> str:
        """How it is taken away, in words."""
        return self.how if self.rate == 1 else f"{self.how} in {self.rate:.4g}, seed {self.seed}"

    def takes(self, sample_id: str) -> bool:
        """Whether it is taken from this sample."""
        draw = hashlib.blake2b(f"{self.seed}/{self.modality}/{sample_id}".encode(), digest_size=8).digest()
        return int.from_bytes(draw, "big") < self.rate * 2**64


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
        return _without_some(batch, ablation) if ablation.rate < 1 else batch.without(name)
    if ablation.how == "mean":
        return _with_mean(batch, name, samples)
    donors = samples.batch(samples.donor_rows(batch.ids))
    if name == "text":
        return replace(batch, texts=donors.texts)
    return replace(batch, modalities={**batch.modalities, name: donors.modalities[name]})


def _without_some(batch: Batch, ablation: Ablation) -> Batch:
    name, gone = ablation.modality, [ablation.takes(sample) for sample in batch.ids]
    if name == "text":
        return replace(batch, texts=[None if g else t for g, t in zip(gone, batch.texts, strict=True)])
    sequence = batch.modalities[name]
    lengths = sequence.lengths.masked_fill(torch.tensor(gone, device=sequence.lengths.device), 0)
    return replace(batch, modalities={**batch.modalities, name: Sequence(sequence.values, lengths)})


def _with_mean(batch: Batch, name: str, samples: Samples) -> Batch:
    if name == "text":
        msg = "Text has no mean; use absent or shuffled."
        raise InputError(msg)
    sequence = batch.modalities[name]
    mean = torch.from_numpy(samples.statistics(name).mean).to(sequence.values)
    constant = Sequence(mean.expand_as(sequence.values), sequence.lengths)
    return replace(batch, modalities={**batch.modalities, name: constant})
