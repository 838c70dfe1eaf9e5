"""From media files to stored features."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msakit.extraction.extract import Extraction
    from msakit.extraction.extractors import ExtractorFactory
    from msakit.extraction.manifest import read_manifest

_MODULES = {"Extraction": "extract", "ExtractorFactory": "extractors", "read_manifest": "manifest"}

__all__ = ["Extraction", "ExtractorFactory", "read_manifest"]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
