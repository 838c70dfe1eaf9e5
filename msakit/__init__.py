"""msakit: teach a large language model to hear and see.

Every public name is imported when it is first used, so that importing msakit costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msakit.api import BuiltPipeline, Run, build, load, open_store, read_pipeline, train
    from msakit.core.errors import MsakitError
    from msakit.core.hooks import hookimpl
    from msakit.core.interfaces import Diagnostic, FeatureArray, MediaClip
    from msakit.core.pipeline.config import PipelineConfig
    from msakit.core.registry.registry import load_registry
    from msakit.core.registry.specs import BackboneSpec, ComponentSpec, DatasetSpec, Finding, Kind, Source
    from msakit.core.settings import Settings
    from msakit.core.tensors import Encoded, Fused, Sequence
    from msakit.extraction.media import decode_audio, decode_frames
    from msakit.feature_store import FeatureStore
    from msakit.runs.results import read_run

__version__ = "0.1.0"

__all__ = [
    "BackboneSpec",
    "BuiltPipeline",
    "ComponentSpec",
    "DatasetSpec",
    "Diagnostic",
    "Encoded",
    "FeatureArray",
    "FeatureStore",
    "Finding",
    "Fused",
    "Kind",
    "MediaClip",
    "MsakitError",
    "PipelineConfig",
    "Run",
    "Sequence",
    "Settings",
    "Source",
    "__version__",
    "build",
    "decode_audio",
    "decode_frames",
    "hookimpl",
    "load",
    "load_registry",
    "open_store",
    "read_pipeline",
    "read_run",
    "train",
]

_HOMES = {
    "BackboneSpec": "msakit.core.registry.specs",
    "BuiltPipeline": "msakit.api",
    "ComponentSpec": "msakit.core.registry.specs",
    "DatasetSpec": "msakit.core.registry.specs",
    "Diagnostic": "msakit.core.interfaces",
    "Encoded": "msakit.core.tensors",
    "FeatureArray": "msakit.core.interfaces",
    "FeatureStore": "msakit.feature_store",
    "Finding": "msakit.core.registry.specs",
    "Fused": "msakit.core.tensors",
    "Kind": "msakit.core.registry.specs",
    "MediaClip": "msakit.core.interfaces",
    "MsakitError": "msakit.core.errors",
    "PipelineConfig": "msakit.core.pipeline.config",
    "Run": "msakit.api",
    "Sequence": "msakit.core.tensors",
    "Settings": "msakit.core.settings",
    "Source": "msakit.core.registry.specs",
    "build": "msakit.api",
    "decode_audio": "msakit.extraction.media",
    "decode_frames": "msakit.extraction.media",
    "hookimpl": "msakit.core.hooks",
    "load": "msakit.api",
    "load_registry": "msakit.core.registry.registry",
    "open_store": "msakit.api",
    "read_pipeline": "msakit.api",
    "read_run": "msakit.runs.results",
    "train": "msakit.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f"module 'msakit' has no attribute '{name}'"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
