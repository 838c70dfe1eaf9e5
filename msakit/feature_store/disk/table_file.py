"""Sample tables on disk (docs/format.md, "Table")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.formats import check_encoding
from msakit.feature_store.disk.hdf5 import MAX_CHILDREN, MAX_NAME_BYTES, SafeFile
from msakit.feature_store.disk.hdf5_write import FileBuilder
from msakit.feature_store.disk.layout import FINGERPRINT
from msakit.feature_store.errors import StoreCorruptError, StoreError
from msakit.feature_store.keys import KEY_BYTES
from msakit.feature_store.table import FLOAT_COLUMNS, TEXT_COLUMNS, Column, FeatureColumn, SampleTable

TABLE, TABLE_VERSION = "msakit.table", "1.0"
STRINGS, NUMBERS, FEATURES = "string-array", "numeric-array", "feature-column"


class TableWriter:
    """Plans one table inside a group, digesting what it writes."""

    def __init__(self, builder: FileBuilder, group: h5py.Group) -> None:
        self._builder = builder
        self._group = group
        self._digest = xxhash.xxh3_128(b"msakit.table")

    def write(self, table: SampleTable) -> None:
        """Plan every column, the digest last."""
        builder, group = self._builder, self._group
        builder.encoding(group, TABLE, TABLE_VERSION)
        builder.integer(group, "n", len(table))
        builder.integer(group, "table_version", table.version)
        self._numbers(group, "attributes", "uint8", np.frombuffer(canonical_json(table.attributes), np.uint8))
        columns = builder.group(group, "columns", "dict", "1.0")
        for name, column in sorted(table.columns().items()):
            self._column(columns, name, column)
        features = builder.group(group, "features", "dict", "1.0")
        for name, item in sorted(table.features.items()):
            node = builder.group(features, name, FEATURES, "1.0")
            builder.text(node, "featureset", item.fingerprint)
            self._digest.update(item.fingerprint.encode())
            self._numbers(node, "keys", "uint8", item.keys)
            self._numbers(node, "present", "uint8", item.present.astype(np.uint8))
        builder.text(group, "content_xxh3_128", self._digest.hexdigest())
        builder.integer(group, "complete", 1)

    def _column(self, parent: h5py.Group, name: str, column: Column) -> None:
        if isinstance(column, np.ndarray):
            node = self._builder.group(parent, name, NUMBERS, "1.0")
            dtype = "int64" if column.dtype.kind == "i" else "float64"
            self._numbers(node, "values", dtype, column.astype(f"<{dtype[0]}8"))
            return
        node = self._builder.group(parent, name, STRINGS, "1.0")
        texts = [encoded(value, f"column {name!r}, row {row}") for row, value in enumerate(column)]
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        self._numbers(node, "values", "uint8", np.frombuffer(b"".join(texts), np.uint8))
        self._numbers(node, "offsets", "int64", offsets)

    def _numbers(self, group: h5py.Group, name: str, dtype: str, values: npt.NDArray[Any]) -> None:
        self._digest.update(f"{_relative(group, self._group)}/{name}:{dtype}{list(values.shape)}".encode())
        self._digest.update(np.ascontiguousarray(values).data)
        self._builder.numbers(group, name, dtype, values)


class TableParser:
    """Reads one table from a group, digesting what it reads."""

    def __init__(self, file: SafeFile, group: h5py.Group) -> None:
        self._file = file
        self._group = group
        self._digest = xxhash.xxh3_128(b"msakit.table")

    def read(self) -> SampleTable:
        """Return the table.

        Raises:
            StoreFormatError: when the group is not a table.
            StoreCorruptError: when its content does not match its digest.
        """
        file, group = self._file, self._group
        check_encoding(file, group, TABLE)
        num_samples = file.integer(group, "n")
        if file.integer(group, "complete") != 1 or not 0 <= num_samples <= file.num_bytes:
            raise file.refusal(
                f"it declares {num_samples} samples, more than it can hold, or is not complete"
            )
        attributes = self._attributes()
        container = file.group(group, "columns")
        columns = {name: self._column(container, name, num_samples) for name in file.children(container)}
        features = self._features(num_samples)
        if self._digest.hexdigest() != file.text(group, "content_xxh3_128"):
            raise StoreCorruptError(
                f"{file.path}: the table does not match its digest", "Restore it from a copy."
            )
        missing = sorted({*TEXT_COLUMNS, *FLOAT_COLUMNS, "utterance"} - set(columns))
        if missing:
            raise file.refusal(f"the table lacks the column {missing[0]!r}")
        standard: dict[str, Any] = {
            name: columns.pop(name) for name in (*TEXT_COLUMNS, *FLOAT_COLUMNS, "utterance")
        }
        table = SampleTable(**standard, extra=columns, features=features, attributes=attributes)
        return replace(table, version=file.integer(group, "table_version"))

    def _attributes(self) -> dict[str, Any]:
        raw = self._numbers(self._group, "attributes")
        try:
            attributes = json.loads(raw.tobytes())
        except (ValueError, RecursionError) as error:
            raise self._file.refusal("the table's attributes are not JSON") from error
        if not isinstance(attributes, dict):
            raise self._file.refusal("the table's attributes are not a JSON object")
        return attributes

    def _column(self, parent: h5py.Group, name: str, num_samples: int) -> Column:
        node = self._file.group(parent, name)
        if self._file.text(node, "encoding-type") == NUMBERS:
            check_encoding(self._file, node, NUMBERS)
            values = self._numbers(node, "values")
            if values.shape != (num_samples,):
                raise self._file.refusal(f"{node.name} does not have one value per sample")
            return values.astype(np.int64) if values.dtype.kind == "i" else values.astype(np.float64)
        check_encoding(self._file, node, STRINGS)
        content, offsets = self._numbers(node, "values"), self._numbers(node, "offsets")
        if offsets.shape != (num_samples + 1,) or content.ndim != 1:
            raise self._file.refusal(f"{node.name} does not have one value per sample")
        return self._strings(node, content.tobytes(), offsets.astype(np.int64))

    def _strings(self, node: h5py.Group, content: bytes, offsets: npt.NDArray[np.int64]) -> tuple[str, ...]:
        if offsets[0] != 0 or offsets[-1] != len(content) or np.any(np.diff(offsets) < 0):
            raise self._file.refusal(f"{node.name}/offsets do not partition the text")
        if not content:
            return ("",) * (len(offsets) - 1)
        bounds = pairwise(offsets.tolist())
        try:
            text = content.decode()
            if len(text) == len(content):  # ASCII: characters are bytes
                return tuple(text[a:b] for a, b in bounds)
            return tuple(content[a:b].decode() for a, b in bounds)
        except UnicodeDecodeError as error:
            raise self._file.refusal(f"{node.name} is not UTF-8") from error

    def _features(self, num_samples: int) -> dict[str, FeatureColumn]:
        container = self._file.group(self._group, "features")
        features = {}
        for name in self._file.children(container):
            node = self._file.group(container, name)
            check_encoding(self._file, node, FEATURES)
            fingerprint = self._file.text(node, "featureset")
            if not FINGERPRINT.fullmatch(fingerprint):
                raise self._file.refusal(f"{node.name} names no feature set")
            self._digest.update(fingerprint.encode())
            keys, present = self._numbers(node, "keys"), self._numbers(node, "present")
            if keys.shape != (num_samples, KEY_BYTES) or present.shape != (num_samples,):
                raise self._file.refusal(f"{node.name} does not have one key per sample")
            features[name] = FeatureColumn(
                fingerprint, keys.astype(np.uint8, copy=False), present.astype(bool)
            )
        return features

    def _numbers(self, group: h5py.Group, name: str) -> npt.NDArray[Any]:
        extent = self._file.extent(group, name)
        values = self._file.read(extent)
        self._digest.update(
            f"{_relative(group, self._group)}/{name}:{extent.dtype}{list(extent.shape)}".encode()
        )
        self._digest.update(values.data)
        return values


def check_names(names: Sequence[str]) -> None:
    """Check names that become members of one HDF5 group, by the limits of the reader.

    Raises:
        StoreError: for one that cannot, or for too many.
    """
    if len(names) > MAX_CHILDREN:
        raise StoreError(
            f"{len(names):,} columns are more than the {MAX_CHILDREN:,} a table can have",
            "Store them as features: one array of that width a sample.",
        )
    for name in names:
        unusable = not name or "/" in name or "\0" in name or name in (".", "..")
        if unusable or len(encoded(name, "a name")) > MAX_NAME_BYTES:
            raise StoreError(f"{name!r} cannot name a column", "Use a short name without '/'.")


def encoded(text: str, what: str) -> bytes:
    """UTF-8 of a text.

    Raises:
        StoreError: naming `what`, when it holds half a character (a lone surrogate).
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(
            f"{what}: {text[:40]!r} is not Unicode text", "Decode the source with the right encoding."
        ) from error


def _relative(group: h5py.Group, root: h5py.Group) -> str:
    return str(group.name)[len(str(root.name).rstrip("/")) :].strip("/")
