"""EGMF's fusion: bidirectional cross-attention, then experts under a hierarchical gate."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import nn

from msakit.core.interfaces import Diagnostic
from msakit.core.tensors import Fused
from msakit.nn import Attention, clean, masked_mean, project, sequence_of

from .diagnosis import diagnose_experts, diagnose_gate, effective_experts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Seq

    from torch import Tensor

    from msakit.core.tensors import Encoded, Sequence

NUM_HEADS = 4
GATE_SIZE = 128
EXPERTS: dict[str, tuple[int, type[nn.Module]]] = {
    "local": (8, nn.Mish),
    "semantic": (4, nn.GELU),
    "global": (2, nn.SiLU),
}


class BidirectionalFusion(nn.Module):
    """Text attends to audio-visual frames and they to the text; both pooled and merged.

    f = LayerNorm(Linear([mean(LN(t + CA(t, av))); mean(LN(av + CA(av, t)))])). The paper states the
    two attentions; pooling and merging are our reading.

    Args:
        size: Width (F).
        dropout: Dropout on attention weights.
    """

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.text_to_av = Attention(size, NUM_HEADS, dropout)
        self.av_to_text = Attention(size, NUM_HEADS, dropout)
        self.text_norm = nn.LayerNorm(size)
        self.av_norm = nn.LayerNorm(size)
        self.merge = nn.Sequential(nn.Linear(2 * size, size), nn.LayerNorm(size))

    def forward(self, text: Tensor, text_mask: Tensor, av: Tensor, av_mask: Tensor) -> Tensor:
        """Text [B, L, F] and audio-visual frames [B, T, F] with their masks to [B, F]."""
        text_state = self.text_norm(text + self.text_to_av(text, av, av_mask)[0])
        av_state = self.av_norm(av + self.av_to_text(av, text, text_mask)[0])
        pooled = [masked_mean(text_state, text_mask), masked_mean(av_state, av_mask)]
        fused: Tensor = self.merge(torch.cat(pooled, dim=-1))
        return fused


class Gate(nn.Module):
    """Linear, GELU, Linear, softmax over experts.

    It starts at torch's own random weights: from exactly equal weights (a last layer of zeros) the first
    stage of two gets no gradient, and short trainings end where they began.

    Args:
        input_size: Width in.
        num_experts: Weights out.
    """

    def __init__(self, input_size: int, num_experts: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(input_size, GATE_SIZE), nn.GELU(), nn.Linear(GATE_SIZE, num_experts)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, input_size] to weights [B, num_experts]."""
        weights: Tensor = self.layers(features).softmax(dim=-1)
        return weights


class HierarchicalGate(nn.Module):
    """A feature-driven gate, then a context-aware one: alpha = softmax(MLP([f; w(f)])).

    Args:
        size: Width of the features (F).
        num_experts: Experts.
    """

    def __init__(self, size: int, num_experts: int) -> None:
        super().__init__()
        self.feature_gate = Gate(size, num_experts)
        self.context_gate = Gate(size + num_experts, num_experts)

    def forward(self, features: Tensor) -> Tensor:
        """[B, F] to alpha [B, num_experts]."""
        weights = self.feature_gate(features)
        alpha: Tensor = self.context_gate(torch.cat([features, weights], dim=-1))
        return alpha


class StaticGate(nn.Module):
    """Equal weights.

    Args:
        size: Width of the features (F).
        num_experts: Experts.
    """

    def __init__(self, size: int, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts

    def forward(self, features: Tensor) -> Tensor:
        """[B, F] to alpha [B, num_experts]."""
        return features.new_full((features.shape[0], self.num_experts), 1 / self.num_experts)


GATES: dict[str, type[nn.Module]] = {
    "hierarchical": HierarchicalGate,
    "single_stage": Gate,
    "static": StaticGate,
}


class ExpertGuidedFusion(nn.Module):
    """Cross-attended features refined by three experts of different bottlenecks (EGMF).

    Gives one token: f + dropout(sum_i alpha_i E_i(f)). Contributions: an absent modality adds no
    frame; without any frame, or without text (length 0), the cross-attention adds nothing and that
    side's mean is zero.

    Args:
        modality_sizes: Encoder width of each modality.
        text_size: Backbone width (H).
        size: Width of the fusion (F).
        experts: Names of the experts kept.
        gate: "hierarchical", "single_stage" or "static".
        residual: Whether f is added.
        dropout: Dropout in attention and on the experts' mixture.

    Raises:
        ValueError: No modality is given.
    """

    num_tokens = 1

    def __init__(
        self,
        modality_sizes: Mapping[str, int],
        text_size: int,
        size: int,
        experts: Seq[str],
        gate: str,
        *,
        residual: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if not modality_sizes:
            msg = "egmf needs at least one modality beside the text"
            raise ValueError(msg)
        self.output_size = size
        self.residual = residual
        self.text_projection = nn.Linear(text_size, size)
        self.projections = nn.ModuleDict(
            {name: project(width, size) for name, width in modality_sizes.items()}
        )
        self.fusion = BidirectionalFusion(size, dropout)
        self.experts = nn.ModuleDict({name: _expert(size, *EXPERTS[name]) for name in experts})
        self.gate = GATES[gate](size, len(experts))
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and sequences [B, T, E] to one token [B, 1, F].

        Diagnostics: `alpha` [B, N], the experts' weights; `expert_cosine` [B, N(N-1)/2], the cosine
        of the experts' outputs, pairs in the order 12, 13, 23; `effective_experts` [B], exp of the
        entropy of alpha.
        """
        words = clean(text)
        frames = {name: sequence_of(modalities[name]) for name in self.projections}
        av = torch.cat([self.projections[name](frames[name].values) for name in frames], dim=1)
        av_mask = torch.cat([frames[name].mask for name in frames], dim=1)
        features = self.fusion(self.text_projection(words.values), words.mask, av, av_mask)
        outputs = torch.stack([expert(features) for expert in self.experts.values()], dim=1)
        alpha = self.gate(features)
        mixture = self.dropout((alpha[..., None] * outputs).sum(dim=1))
        tokens = features + mixture if self.residual else mixture
        diagnostics = {
            "alpha": alpha.detach(),
            "expert_cosine": _pairwise_cosine(outputs.detach()),
            "effective_experts": effective_experts(alpha.detach()),
        }
        return Fused(tokens[:, None], diagnostics=diagnostics)

    @property
    def diagnostics(self) -> dict[str, Diagnostic]:
        """The diagnostics that `forward` returns."""
        names = tuple(self.experts)
        pairs = tuple(" and ".join(pair) for pair in itertools.combinations(names, 2))
        return {
            "alpha": Diagnostic("weights", names, "weights of the experts"),
            "expert_cosine": Diagnostic("scalars", pairs, "cosine of two experts' outputs"),
            "effective_experts": Diagnostic("scalars", (), "how many experts a sample uses"),
        }

    def diagnose(self, diagnostics: Mapping[str, Tensor]) -> list[str]:
        """A gate that no longer chooses, and experts that say the same."""
        names = tuple(self.experts)
        findings = diagnose_experts(diagnostics["expert_cosine"], names)
        chooses = not isinstance(self.gate, StaticGate) and len(names) > 1
        return [*diagnose_gate(diagnostics["alpha"], names), *findings] if chooses else findings


def _expert(size: int, divisor: int, activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size // divisor), activation(), nn.Linear(size // divisor, size))


def _pairwise_cosine(outputs: Tensor) -> Tensor:
    """[B, N, F] to [B, N(N-1)/2]."""
    pairs = list(itertools.combinations(range(outputs.shape[1]), 2))
    if not pairs:
        return outputs.new_zeros(outputs.shape[0], 0)
    first, second = zip(*pairs, strict=True)
    return torch.cosine_similarity(outputs[:, list(first)], outputs[:, list(second)], dim=-1)
