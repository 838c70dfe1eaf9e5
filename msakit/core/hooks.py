"""Every extension point, on one screen.

A plugin is a module with functions of these names, each marked `@msakit.hookimpl`, found through
the entry-point group `msakit`. Importing it must be cheap: metadata only, no torch.

A hook that is to go is declared `@hookspec(warn_on_impl=DeprecationWarning("msakit ...: say what to use"))`;
an argument with `warn_on_impl_args`. Pluggy then warns at the line of the plugin that implements it, and
`msakit plugins check` shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from msakit.core.pipeline.config import PipelineConfig
    from msakit.core.registry.specs import BackboneSpec, ComponentSpec, DatasetSpec, Finding

hookspec = pluggy.HookspecMarker("msakit")
hookimpl = pluggy.HookimplMarker("msakit")


class Hooks:
    """The hook specifications."""

    @hookspec
    def msakit_registry_files(self) -> Iterable[Path]:
        """registry.yaml files of this distribution; `target: .module:Class` is relative to the plugin."""
        return ()

    @hookspec
    def msakit_components(self) -> Iterable[ComponentSpec]:
        """Components this distribution offers: extractors, encoders, fusers, injectors, backbones."""
        return ()

    @hookspec
    def msakit_backbones(self) -> Iterable[BackboneSpec]:
        """Pretrained language models this distribution can name."""
        return ()

    @hookspec
    def msakit_datasets(self) -> Iterable[DatasetSpec]:
        """Corpora this distribution can describe. Nothing is downloaded here."""
        return ()

    @hookspec
    def msakit_check_pipeline(self, pipeline: PipelineConfig) -> Iterable[Finding]:
        """Static complaints about a resolved pipeline, made without torch and before anything is loaded."""
        return ()

    @hookspec
    def msakit_run_finished(self, record: dict[str, Any]) -> None:
        """Called once after a run with its record (for trackers). An exception is reported, not fatal."""
