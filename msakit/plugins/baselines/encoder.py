"""No temporal encoder: every frame projected on its own."""

from __future__ import annotations

from torch import nn

from msakit.core.tensors import Encoded, Sequence
from msakit.nn import clean, masked_mean


class FrameEncoder(nn.Module):
    """One Linear for all frames; the summary is their mean.

    The ablation "without an encoder": the Linear only brings modalities to a common width.

    Args:
        input_size: Feature width (D).
        output_size: Width out (E).
        dropout: Dropout on the projected frames.
    """

    def __init__(self, input_size: int, output_size: int, dropout: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.projection = nn.Sequential(nn.Linear(input_size, output_size), nn.Dropout(dropout))

    def forward(self, modality: Sequence) -> Encoded:
        """[B, T, D] to a sequence [B, T, E] and its mean [B, E], zeros where the modality is absent."""
        frames = clean(modality)
        sequence = Sequence(self.projection(frames.values), frames.lengths)
        summary = masked_mean(sequence.values, sequence.mask)
        return Encoded(present=modality.present, summary=summary, sequence=sequence)
