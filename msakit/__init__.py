"""msakit: teach a large language model to hear and see.

The light names below are for plugin packages; heavy ones (`FeatureStore`, `train_run`, `load_run`)
are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from msakit.core.errors import MsakitError
from msakit.core.hooks import hookimpl
from msakit.core.specs import BackboneSpec, ComponentSpec, DatasetSpec, Finding, Kind, Source

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

_HEAVY = {
    "FeatureStore": "msakit.feature_store",
    "load_registry": "msakit.core.registry",
    "load_run": "msakit.core.workflow",
    "train_run": "msakit.core.workflow",
}


def __getattr__(name: str) -> Any:
    if name in _HEAVY:
        return getattr(importlib.import_module(_HEAVY[name]), name)
    msg = f"module 'msakit' has no attribute '{name}'"
    raise AttributeError(msg)
