"""What msakit reads when it starts: metadata only, so that nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable

from msakit import ComponentSpec, Kind, Source, hookimpl


@hookimpl
def msakit_components() -> Iterable[ComponentSpec]:
    """The one fuser of this package."""
    yield ComponentSpec(
        kind=Kind.FUSER,
        name="gated_units.gated",
        target="msakit_gated.fuser:GatedFusion",
        config="msakit_gated.config:GatedConfig",
        summary="Gated multimodal units: every stream weighted by a gate that sees all of them",
        source=Source(
            paper="Arevalo et al.: Gated Multimodal Units for Information Fusion (2017)",
            url="https://arxiv.org/abs/1702.01992",
        ),
        capabilities=frozenset({"needs_summary", "gives_tokens"}),
    )
