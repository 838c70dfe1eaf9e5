"""The per-modality half of EGMF's audio-visual encoder."""

from __future__ import annotations

import torch
from torch import nn

from msakit.core.tensors import Encoded, Sequence
from msakit.nn import SequenceLSTM, clean, keep_present, masked_mean


class AVEncoder(nn.Module):
    """BiLSTM, Linear, LayerNorm, plus a learned embedding of the modality; every frame kept.

    The paper names an audio-visual encoder without describing it; this is our reading. The fuser
    concatenates the modalities in time. The summary is the mean over real frames.

    Args:
        input_size: Feature width (D).
        hidden_size: Width of the LSTM state of each direction.
        output_size: Width of the sequence (E).
        num_layers: Stacked LSTM layers.
        dropout: Dropout on the sequence.
    """

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.rnn = SequenceLSTM(input_size, hidden_size, num_layers, bidirectional=True)
        self.projection = nn.Linear(self.rnn.output_size, output_size)
        self.norm = nn.LayerNorm(output_size)
        self.modality = nn.Parameter(0.02 * torch.randn(output_size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, modality: Sequence) -> Encoded:
        """[B, T, D] to a sequence [B, T, E] and its mean [B, E], zeros where the modality is absent."""
        states = self.rnn(clean(modality))
        values = self.dropout(self.norm(self.projection(states.values)) + self.modality)
        sequence = Sequence(values, states.lengths)
        summary = keep_present(masked_mean(values, sequence.mask), modality.present)
        return Encoded(present=modality.present, summary=summary, sequence=sequence)
