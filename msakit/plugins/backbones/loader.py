"""The backbone component the registry names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import loading

if TYPE_CHECKING:
    from msakit.core.registry.specs import BackboneSpec

    from .architecture import BackboneFacts
    from .causal_lm import CausalLM
    from .config import CausalLMConfig


class CausalLMLoader:
    """Loads and measures causal language models (a `BackboneLoader`)."""

    def load(self, spec: BackboneSpec, settings: CausalLMConfig) -> CausalLM:
        """The model with its weights."""
        return loading.load(spec, settings)

    def measure(self, spec: BackboneSpec, settings: CausalLMConfig) -> BackboneFacts:
        """Its size; a model no registry describes is looked up first."""
        described = spec if spec.architecture else loading.describe(spec.name)
        return loading.meta(described, settings)
