"""The parts of a pipeline and its trained parameters, counted without loading weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msakit.core.pipeline.builder import build_adapter, measure_backbone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry

# A trained float32 weight, its gradient, and AdamW's two moments.
BYTES_PER_TRAINED_WEIGHT = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a pipeline.

    Attributes:
        part: Its place ("fuser", "encoders.audio").
        component: Its full name.
        trainable: Number of parameters it trains.
        source: The paper it follows, or where a backbone's weights come from.
    """

    part: str
    component: str
    trainable: int
    source: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """The parts of a pipeline and the memory its weights take.

    Attributes:
        parts: Every component, the backbone last.
        backbone_parameters: Parameters of the backbone, those LoRA adds left out.
        weights_bytes: Memory of the backbone's weights.
    """

    parts: tuple[Part, ...]
    backbone_parameters: int
    weights_bytes: int

    @property
    def trainable(self) -> int:
        """Number of trained parameters."""
        return sum(part.trainable for part in self.parts)

    @property
    def share(self) -> float:
        """Trained parameters as a share of the backbone's."""
        return self.trainable / self.backbone_parameters

    @property
    def training_bytes(self) -> int:
        """Memory of the trained weights with their gradients and optimiser states, all float32."""
        return BYTES_PER_TRAINED_WEIGHT * self.trainable

    def totals(self) -> dict[str, Any]:
        """The sums, as plain data."""
        names = ("trainable", "backbone_parameters", "share", "weights_bytes", "training_bytes")
        return {name: getattr(self, name) for name in names}


def measure_pipeline(
    resolved: ResolvedPipeline, registry: Registry, widths: Mapping[str, int] | None = None
) -> Sizes:
    """Count a pipeline's parameters exactly.

    Args:
        resolved: The pipeline.
        registry: Where classes are looked up.
        widths: Modality to feature width (D); default: what the dataset declares.

    Raises:
        ConfigError: A width is unknown, or a component refuses its settings.
    """
    facts = measure_backbone(resolved, registry)
    sizes = dict(resolved.dataset.features) if widths is None else widths
    adapter = build_adapter(resolved, registry, widths=sizes, hidden_size=facts.hidden_size, device="meta")
    counts = adapter.count_parameters()
    chosen = {f"encoders.{name}": encoder for name, encoder in resolved.encoders.items()}
    chosen |= {"fuser": resolved.fuser, "injector": resolved.injector}
    parts = [
        Part(key, choice.spec.full_name, counts[key], choice.spec.source.paper or "")
        for key, choice in chosen.items()
    ]
    backbone = resolved.backbone_spec
    origin = str(backbone.weights.get("repository", backbone.name))
    parts.append(Part("backbone", backbone.name, facts.num_trainable, origin))
    return Sizes(tuple(parts), facts.num_parameters, facts.weight_bytes)
