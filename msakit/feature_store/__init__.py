"""The feature store: cached features of many modalities, crash-safe to write and fast to read.

It stands alone (numpy, h5py, xxhash) and imports no deep-learning library. See docs/feature_store.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msakit.feature_store.errors import StoreCorruptError, StoreError, StoreFormatError, StoreWriteError
    from msakit.feature_store.featureset import FeatureSet
    from msakit.feature_store.keys import digest_bytes, digest_file, sample_key
    from msakit.feature_store.reader import FeatureReader, PaddedBatch
    from msakit.feature_store.store import FeatureStore
    from msakit.feature_store.table import FeatureColumn, Sample, SampleTable
    from msakit.feature_store.writer import FeatureWriter, WriterOptions

_MODULES = {
    "FeatureColumn": "table",
    "FeatureReader": "reader",
    "FeatureSet": "featureset",
    "FeatureStore": "store",
    "FeatureWriter": "writer",
    "PaddedBatch": "reader",
    "Sample": "table",
    "SampleTable": "table",
    "StoreCorruptError": "errors",
    "StoreError": "errors",
    "StoreFormatError": "errors",
    "StoreWriteError": "errors",
    "WriterOptions": "writer",
    "digest_bytes": "keys",
    "digest_file": "keys",
    "sample_key": "keys",
}

__all__ = [
    "FeatureColumn",
    "FeatureReader",
    "FeatureSet",
    "FeatureStore",
    "FeatureWriter",
    "PaddedBatch",
    "Sample",
    "SampleTable",
    "StoreCorruptError",
    "StoreError",
    "StoreFormatError",
    "StoreWriteError",
    "WriterOptions",
    "digest_bytes",
    "digest_file",
    "sample_key",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use: the errors alone cost neither numpy nor h5py."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
