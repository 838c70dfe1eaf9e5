"""The temporal encoder of MSE-Adapter: one unidirectional LSTM a modality, its last state kept."""

from __future__ import annotations

from torch import nn

from msakit.core.tensors import Encoded, Sequence
from msakit.nn import clean, keep_present, last_frame


class LSTMEncoder(nn.Module):
    """Last LSTM state, dropout, Linear (MSE-Adapter, released code `TVA_LSTM`).

    The LSTM runs over the padded batch and the state at the last real frame is taken: what follows
    cannot reach an earlier state, so this equals packing, and is several times faster on CPU.

    Args:
        input_size: Feature width (D).
        hidden_size: Width of the LSTM state.
        output_size: Width of the summary (E).
        num_layers: Stacked LSTM layers.
        dropout: Dropout before the output layer.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.rnn = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden_size, output_size)

    def forward(self, modality: Sequence) -> Encoded:
        """[B, T, D] to a summary [B, E]; zeros where the modality is absent."""
        frames = clean(modality)
        states, _ = self.rnn(frames.values)
        last = last_frame(Sequence(states, frames.lengths))
        summary = keep_present(self.projection(self.dropout(last)), modality.present)
        return Encoded(present=modality.present, summary=summary)
