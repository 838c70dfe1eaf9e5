"""The text-guided mixer and multi-scale fusion of MSE-Adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.interfaces import Diagnostic
from msakit.core.tensors import Fused
from msakit.nn import keep_present, masked_mean, summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Seq

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence

NEGLIGIBLE_SHARE = 0.01
GATES = {"none": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class MultiScaleFusion(nn.Module):
    """Bottlenecks of several widths, mixed by one scalar each and a common bias.

    The paper writes the widths as h / k with h the adapter's; the released code, followed here,
    takes them from the backbone's width.

    Args:
        size: Width in and out (F).
        hidden_sizes: Width of each branch.
    """

    def __init__(self, size: int, hidden_sizes: Seq[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))
            for hidden in hidden_sizes
        )
        self.mix = nn.Linear(len(hidden_sizes), 1)

    def forward(self, mixed: Tensor) -> Tensor:
        """[B, F] to [B, F]."""
        scales = torch.stack([branch(mixed) for branch in self.branches], dim=-1)
        mixed_scales: Tensor = self.mix(scales)
        return mixed_scales[..., 0]


class TextGuidedMixer(nn.Module):
    """Every modality multiplied by a projection of the mean text embedding, summed, fused at scales.

    M = sum_m x_m * Linear(mean_t T), the text mean taken over real tokens only (the released code
    averages padding in). Contributions: an absent modality adds zero; where the text is left out
    (length 0) the gate is 1. Gives one token a sample.

    Args:
        modality_sizes: Encoder width of each modality; they must agree, and that is F.
        text_size: Backbone width (H).
        scales: Divisors k; branch k of the multi-scale fusion has hidden width H // k; none leaves it out.
        gate_activation: "none", "sigmoid" or "tanh".
        text_guide: Whether the text gates the modalities.
        normalise: Layer-normalise modalities and text mean before the product. At the start the
            released layers' biases drown what differs between samples; this and `residual` let it through.
        residual: Add M to what the multi-scale fusion makes of it.

    Raises:
        ValueError: The modalities differ in width, or a scale leaves no hidden unit.
    """

    num_tokens = 1

    def __init__(
        self,
        modality_sizes: Mapping[str, int],
        text_size: int,
        scales: Seq[int],
        gate_activation: str,
        *,
        text_guide: bool,
        normalise: bool,
        residual: bool,
    ) -> None:
        super().__init__()
        if len(set(modality_sizes.values())) != 1:
            msg = f"tgm adds modalities up, so their encoders must be equally wide: {dict(modality_sizes)}"
            raise ValueError(msg)
        if max(scales, default=1) > text_size:
            msg = f"a scale of {max(scales)} leaves no hidden unit at a backbone width of {text_size}"
            raise ValueError(msg)
        self.modalities = tuple(modality_sizes)
        self.residual = residual and bool(scales)
        self.output_size = size = next(iter(modality_sizes.values()))
        self.text_projection = nn.Linear(text_size, size) if text_guide else None
        self.gate_activation = GATES[gate_activation]()
        self.fusion = (
            MultiScaleFusion(size, [text_size // scale for scale in scales]) if scales else nn.Identity()
        )
        self.normalise_text = nn.LayerNorm(text_size) if normalise and text_guide else nn.Identity()
        self.normalise_modality = nn.ModuleDict(
            {name: nn.LayerNorm(size) if normalise else nn.Identity() for name in modality_sizes}
        )

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and summaries [B, F] to one token [B, 1, F].

        Diagnostics: `contribution` [B, M], the norm of each modality's part of the mix, in the
        order of `modality_sizes`.
        """
        parts = torch.stack([self._summary(name, modalities[name]) for name in self.modalities], dim=1)
        gated = parts * self._gate(text)[:, None] if self.text_projection is not None else parts
        mixed = gated.sum(dim=1)
        fused = self.fusion(mixed) + mixed if self.residual else self.fusion(mixed)
        return Fused(fused[:, None], diagnostics={"contribution": gated.detach().norm(dim=-1)})

    @property
    def diagnostics(self) -> dict[str, Diagnostic]:
        """The diagnostics that `forward` returns."""
        return {"contribution": Diagnostic("scalars", self.modalities, "norm of each modality's part")}

    def diagnose(self, diagnostics: Mapping[str, Tensor]) -> list[str]:
        """Modalities that are there and hardly count: mean norm below a hundredth of the largest."""
        means = diagnostics["contribution"].double().mean(dim=0)
        largest = means.max().item()
        return [
            f"'{name}' hardly contributes: mean norm {mean:.3g}, the largest {largest:.3g}"
            for name, mean in zip(self.modalities, means.tolist(), strict=True)
            if 0 < mean < NEGLIGIBLE_SHARE * largest
        ]

    def _summary(self, name: str, encoded: Encoded) -> Tensor:
        return keep_present(self.normalise_modality[name](summary_of(encoded)), encoded.present)

    def _gate(self, text: Sequence) -> Tensor:
        assert self.text_projection is not None
        gate = self.gate_activation(
            self.text_projection(self.normalise_text(masked_mean(text.values, text.mask)))
        )
        return torch.where(text.present[:, None], gate, torch.ones_like(gate))
