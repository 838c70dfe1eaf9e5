"""The fuser `gated`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from msakit import Diagnostic, Encoded, Fused, Sequence


class GatedFusion(nn.Module):
    """Gated multimodal units (Arevalo et al. 2017, section 3.1): h = sum over streams of z * tanh(W x).

    Each gate z = sigmoid(V [all streams]) has one value a unit. The paper has two streams with gates
    z and 1 - z; with any number of streams the gates are independent, as in its multimodal form.
    A stream a sample lacks enters the gates as zeros and adds nothing to the sum.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Width of the fused token (F).
    """

    num_tokens = 1

    def __init__(self, modality_sizes: Mapping[str, int], text_size: int, size: int) -> None:
        super().__init__()
        self.output_size = size
        widths = {"text": text_size, **modality_sizes}
        total = sum(widths.values())
        self.contents = nn.ModuleDict({name: nn.Linear(width, size) for name, width in widths.items()})
        self.gates = nn.ModuleDict({name: nn.Linear(total, size) for name in widths})

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, E] to one token [B, 1, F].

        Diagnostics: `gate` [B, S], the mean gate of each of the S streams, text first.
        """
        streams = {"text": _mean(text)} | {name: _summary(encoded) for name, encoded in modalities.items()}
        present = {"text": text.present} | {name: encoded.present for name, encoded in modalities.items()}
        joined = torch.cat([streams[name] for name in self.contents], dim=-1)
        token = torch.zeros_like(joined[:, :1])
        means = []
        for name, content in self.contents.items():
            gate = torch.sigmoid(self.gates[name](joined)) * present[name][:, None]
            token = token + gate * torch.tanh(content(streams[name]))
            means.append(gate.mean(dim=-1))
        return Fused(token[:, None], {"gate": torch.stack(means, dim=-1).detach()})

    @property
    def diagnostics(self) -> dict[str, Diagnostic]:
        """What `forward` shows."""
        return {"gate": Diagnostic("scalars", tuple(self.contents), "mean gate of each stream")}

    def diagnose(self, diagnostics: Mapping[str, Tensor]) -> list[str]:
        """Gates that are shut for every sample."""
        means = diagnostics["gate"].mean(dim=0).tolist()
        return [
            f"the gate of '{name}' is shut"
            for name, mean in zip(self.contents, means, strict=True)
            if mean < 0.01
        ]


def _mean(text: Sequence) -> Tensor:
    """The mean over real tokens, [B, L, H] to [B, H]; zeros where there is none."""
    total = text.values.masked_fill(~text.mask[..., None], 0).sum(dim=1)
    return total / text.lengths.clamp(min=1)[:, None].to(total.dtype)


def _summary(encoded: Encoded) -> Tensor:
    """The encoder's summary [B, E]; zeros where the modality is absent."""
    if encoded.summary is None:
        msg = "the fuser 'gated' needs encoders that give a summary"
        raise ValueError(msg)
    return encoded.summary.masked_fill(~encoded.present[:, None], 0)
