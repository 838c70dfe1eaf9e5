"""msakit: teach a large language model to hear and see.

Every public name is imported when it is first used, so that importing msakit costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msakit.core.errors import MsakitError
    from msakit.core.hooks import hookimpl
    from msakit.core.registry.registry import load_registry
    from msakit.core.registry.specs import BackboneSpec, ComponentSpec, DatasetSpec, Finding, Kind, Source
    from msakit.feature_store import FeatureStore
    from msakit.workflows.load import load_run
    from msakit.workflows.train import train_run

__version__ = "0.1.0"

__all__ = [
    "BackboneSpec",
    "ComponentSpec",
    "DatasetSpec",
    "FeatureStore",
    "Finding",
    "Kind",
    "MsakitError",
    "Source",
    "__version__",
    "hookimpl",
    "load_registry",
    "load_run",
    "train_run",
]

_HOMES = {
    "BackboneSpec": "msakit.core.registry.specs",
    "ComponentSpec": "msakit.core.registry.specs",
    "DatasetSpec": "msakit.core.registry.specs",
    "FeatureStore": "msakit.feature_store",
    "Finding": "msakit.core.registry.specs",
    "Kind": "msakit.core.registry.specs",
    "MsakitError": "msakit.core.errors",
    "Source": "msakit.core.registry.specs",
    "hookimpl": "msakit.core.hooks",
    "load_registry": "msakit.core.registry.registry",
    "load_run": "msakit.workflows.load",
    "train_run": "msakit.workflows.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f"module 'msakit' has no attribute '{name}'"
    raise AttributeError(msg)
