"""Extractors and transcribers by name: looked up in the registry, set up, made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msakit.core.registry.registry import load_registry
from msakit.core.registry.specs import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from msakit.core.interfaces import Extractor, Transcriber
    from msakit.core.registry.registry import Registry

NONCOMMERCIAL = "noncommercial"
"""Capability of a component whose licence forbids commercial use."""


def make_extractor(registry: Registry, name: str, settings: Mapping[str, Any]) -> Extractor:
    """The extractor of that name, built with these settings.

    Raises:
        UnknownNameError: No extractor answers to the name.
        ConfigError: A setting is wrong.
        MissingExtraError: What it needs is not installed.
    """
    extractor: Extractor = _make(registry, Kind.EXTRACTOR, name, settings)
    return extractor


def make_transcriber(registry: Registry, name: str, settings: Mapping[str, Any]) -> Transcriber:
    """The transcriber of that name, built with these settings.

    Raises:
        UnknownNameError: No transcriber answers to the name.
        ConfigError: A setting is wrong.
        MissingExtraError: What it needs is not installed.
    """
    transcriber: Transcriber = _make(registry, Kind.TRANSCRIBER, name, settings)
    return transcriber


def _make(registry: Registry, kind: Kind, name: str, settings: Mapping[str, Any]) -> Any:
    choice = registry.choose(kind, name, settings)
    return registry.load_target(choice.spec)(**dict(choice.settings))


def licence_notices(registry: Registry, names: Iterable[str]) -> list[str]:
    """One line for each of these extractors whose licence forbids commercial use."""
    specs = [registry.component(Kind.EXTRACTOR, name) for name in names]
    return [f"{spec.short}: {spec.licence}." for spec in specs if NONCOMMERCIAL in spec.capabilities]


@dataclass(frozen=True)
class ExtractorFactory:
    """Makes one extractor, in whichever process it is called."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    registry_files: tuple[Path, ...] = ()
    plugin_files: tuple[Path, ...] = ()

    def __call__(self) -> Extractor:
        """Make it."""
        return make_extractor(load_registry(self.registry_files, self.plugin_files), self.name, self.settings)
