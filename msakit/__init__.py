"""msakit: teach a large language model to hear and see.

Every public name is imported when it is first used, so that importing msakit costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msakit.core.errors import MsakitError
    from msakit.core.hooks import hookimpl
    from msakit.core.registry import load_registry
    from msakit.core.specs import BackboneSpec, ComponentSpec, DatasetSpec, Finding, Kind, Source
    from msakit.core.workflow import load_run, train_run
    from msakit.feature_store import FeatureStore

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
    "BackboneSpec": "msakit.core.specs",
    "ComponentSpec": "msakit.core.specs",
    "DatasetSpec": "msakit.core.specs",
    "FeatureStore": "msakit.feature_store",
    "Finding": "msakit.core.specs",
    "Kind": "msakit.core.specs",
    "MsakitError": "msakit.core.errors",
    "Source": "msakit.core.specs",
    "hookimpl": "msakit.core.hooks",
    "load_registry": "msakit.core.registry",
    "load_run": "msakit.core.workflow",
    "train_run": "msakit.core.workflow",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f"module 'msakit' has no attribute '{name}'"
    raise AttributeError(msg)
