"""Single-file stores: sealed shards and tables of a store in one HDF5 file, read-only (docs/format.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from msakit.feature_store.disk.files import finished_file
from msakit.feature_store.disk.formats import check_encoding
from msakit.feature_store.disk.hdf5 import SafeFile, open_safely
from msakit.feature_store.disk.hdf5_write import FileBuilder
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.disk.sample_index import SampleIndex, ShardRef, index_shard, merge_indexes
from msakit.feature_store.disk.shard import read_shard_group, write_shard_group
from msakit.feature_store.disk.table_file import TableParser, TableWriter, check_names
from msakit.feature_store.featureset import FeatureSet, parse_feature_set
from msakit.feature_store.table import SampleTable

STORE_FILE, STORE_FILE_VERSION = "msakit.store-file", "1.0"


class StoreFile:
    """A single-file store: everything but the values is read at opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.indexes: dict[str, SampleIndex] = {}
        self.tables: dict[str, SampleTable] = {}
        with open_safely(path) as file:
            check_encoding(file, file.root, STORE_FILE)
            container = file.group(file.root, "feature_sets")
            for fingerprint in file.children(container):
                self.indexes[fingerprint] = _read_index(file, container, fingerprint)
            tables = file.group(file.root, "tables")
            for name in file.children(tables):
                self.tables[name] = TableParser(file, file.group(tables, name)).read()


def write_store_file(
    path: Path, tables: Mapping[str, SampleTable], indexes: Mapping[str, SampleIndex]
) -> None:
    """Write tables and the features they name into one file; features of other samples are left out.

    Raises:
        StoreError: when the file exists, a table names features the store does not have, or writing fails.
    """
    check_names(list(tables))
    sources = [RowSource(index) for index in indexes.values()]
    try:
        with finished_file(path) as tmp, FileBuilder() as builder:
            builder.encoding(builder.root, STORE_FILE, STORE_FILE_VERSION)
            container = builder.group(builder.root, "feature_sets", "dict", "1.0")
            for source in sources:
                _write_feature_set(builder, container, source, tables)
            group = builder.group(builder.root, "tables", "dict", "1.0")
            for name, table in tables.items():
                TableWriter(builder, group.create_group(name)).write(table)
            builder.write(tmp)
    finally:
        for source in sources:
            source.close()


def keys_in_tables(tables: Sequence[SampleTable], fingerprint: str) -> npt.NDArray[np.uint8]:
    """Distinct keys [N, 16] of one feature set that the tables name, in order of first appearance."""
    columns = [
        item.keys[item.present]
        for table in tables
        for item in table.features.values()
        if item.fingerprint == fingerprint
    ]
    keys = np.concatenate(columns) if columns else np.zeros((0, 16), np.uint8)
    _, first = np.unique(keys, axis=0, return_index=True)
    return keys[np.sort(first)]


def _write_feature_set(
    builder: FileBuilder, container: h5py.Group, source: RowSource, tables: Mapping[str, SampleTable]
) -> None:
    feature_set = source.index.feature_set
    rows = source.rows_of(keys_in_tables(list(tables.values()), feature_set.fingerprint))
    group = container.create_group(feature_set.fingerprint)
    shard_id = feature_set.fingerprint
    write_shard_group(builder, group, feature_set, rows, (shard_id, source.provenance()))
    builder.numbers(group, "featureset.json", "uint8", np.frombuffer(feature_set.canonical, np.uint8))


def _read_index(file: SafeFile, container: h5py.Group, fingerprint: str) -> SampleIndex:
    group = file.group(container, fingerprint)
    document = file.read(file.extent(group, "featureset.json")).tobytes()
    feature_set: FeatureSet = parse_feature_set(document, fingerprint, f"{file.path}: {group.name}")
    parsed = read_shard_group(file, group, feature_set)
    stat = os.fstat(file.fd)
    ref = ShardRef(file.path, stat.st_size, stat.st_mtime_ns, parsed.provenance, parsed.num_samples)
    return merge_indexes(feature_set, [index_shard(feature_set, parsed, ref)])
