"""Import from and export to the file formats of the field; nothing imported is ever executed.

from msakit.feature_store import FeatureStore
from msakit.feature_store.interchange import ImportOptions, import_files

store = FeatureStore.open_or_create("feats")
report = import_files(store, ["unaligned_50.pkl"], ImportOptions("mosei", nonfinite="zero"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msakit.feature_store.interchange.exporter import ExportReport, export_mmsa
    from msakit.feature_store.interchange.importer import import_files
    from msakit.feature_store.interchange.opening import ImportOptions
    from msakit.feature_store.interchange.report import ImportReport

__all__ = ["ExportReport", "ImportOptions", "ImportReport", "export_mmsa", "import_files"]

# Resolved on first use: the sandboxed readers live in this package and start with the standard library alone.
_HOMES = {
    "ExportReport": "exporter",
    "ImportOptions": "opening",
    "ImportReport": "report",
    "export_mmsa": "exporter",
    "import_files": "importer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
