"""The feature store: cached features of many modalities, crash-safe to write and fast to read.

It stands alone (numpy, h5py, xxhash) and imports no deep-learning library. See docs/feature_store.md.
"""

from __future__ import annotations

from msakit.feature_store.errors import StoreCorruptError, StoreError, StoreFormatError, StoreWriteError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import digest_bytes, digest_file, sample_key
from msakit.feature_store.reader import FeatureReader, PaddedBatch
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import FeatureColumn, Sample, SampleTable
from msakit.feature_store.writer import FeatureWriter, WriterOptions

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
