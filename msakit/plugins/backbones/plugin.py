"""Language models as a plugin: everything it offers stands in the registry.yaml beside this file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msakit.core.hooks import hookimpl


@hookimpl
def msakit_registry_files() -> Iterable[Path]:
    """The registry.yaml of this folder."""
    yield Path(__file__).with_name("registry.yaml")
