"""The sequence feature-alignment layer of CMPTA."""

from __future__ import annotations

from torch import nn

from msakit.core.tensors import Encoded, Sequence
from msakit.nn import SequenceLSTM, clean, masked_mean


class BiLSTMEncoder(nn.Module):
    """BiLSTM, Linear, LayerNorm, dropout; every frame kept (CMPTA, Eqs. 3-5).

    The summary, for fusers that want one vector, is the mean over real frames.

    Args:
        input_size: Feature width (D).
        hidden_size: Width of the LSTM state of each direction.
        output_size: Width of the aligned sequence (E).
        num_layers: Stacked LSTM layers.
        dropout: Dropout after the layer norm.
        bidirectional: Whether frames are read in both directions.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int,
        dropout: float,
        *,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.rnn = SequenceLSTM(input_size, hidden_size, num_layers, bidirectional=bidirectional)
        self.align = nn.Sequential(
            nn.Linear(self.rnn.output_size, output_size), nn.LayerNorm(output_size), nn.Dropout(dropout)
        )

    def forward(self, modality: Sequence) -> Encoded:
        """[B, T, D] to a sequence [B, T, E] and its mean [B, E], zeros where the modality is absent."""
        states = self.rnn(clean(modality))
        sequence = Sequence(self.align(states.values), states.lengths)
        summary = masked_mean(sequence.values, sequence.mask)
        return Encoded(present=modality.present, summary=summary, sequence=sequence)
