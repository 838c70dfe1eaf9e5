"""A batch of samples, as the pipeline takes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Seq

    from torch import Tensor

    from msakit.core.pipeline.prompt import Turn


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples.

    Attributes:
        ids: Sample ids.
        texts: The utterances; None where the text is left out.
        modalities: Modality to features [B, T, D] with lengths; length 0 is absent.
        labels: Scores, or class indices as floats; None where there are none (prediction).
        contexts: Previous turns of each sample's dialogue, oldest first.
        speakers: Who speaks; empty where unknown.
    """

    ids: Seq[str]
    texts: Seq[str | None]
    modalities: Mapping[str, Sequence] = field(default_factory=dict)
    labels: Seq[float] | None = None
    contexts: Seq[Seq[Turn]] | None = None
    speakers: Seq[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, modality: str) -> Batch:
        """The same samples with one modality absent from all of them ("text" included)."""
        if modality == "text":
            return replace(self, texts=[None] * len(self))
        absent = Sequence(
            self.modalities[modality].values, torch.zeros_like(self.modalities[modality].lengths)
        )
        return replace(self, modalities={**self.modalities, modality: absent})

    def without_where(self, modality: str, absent: Tensor) -> Batch:
        """The same samples with a modality absent where the mask [B] is true."""
        sequence = self.modalities[modality]
        lengths = sequence.lengths.masked_fill(absent.to(sequence.lengths.device), 0)
        return replace(self, modalities={**self.modalities, modality: Sequence(sequence.values, lengths)})

    def to(self, device: torch.device | str) -> Batch:
        """The same samples with their features on a device."""
        return replace(self, modalities={name: seq.to(device) for name, seq in self.modalities.items()})
