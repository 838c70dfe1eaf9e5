"""Shards: immutable HDF5 files of many samples of one feature set (docs/format.md, "Shard")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import h5py
import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.files import Buffer
from msakit.feature_store.disk.formats import check_encoding
from msakit.feature_store.disk.hdf5 import Extent, SafeFile
from msakit.feature_store.disk.hdf5_write import LONGEST_TEXT_BYTES, FileBuilder
from msakit.feature_store.errors import StoreCorruptError
from msakit.feature_store.featureset import FeatureSet, FieldSpec
from msakit.feature_store.keys import KEY_BYTES

SHARD, SHARD_VERSION = "msakit.shard", "1.1"
PROVENANCE_ARRAY = "provenance.json"
RAGGED, RAGGED_VERSION = "ragged", "1.0"

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


@dataclass
class FieldRows:
    """One field of the rows of a shard to be written."""

    lengths: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)


@dataclass
class ShardRows:
    """Rows to be written: keys, and per field the raw bytes with their lengths and hashes."""

    fields: dict[str, FieldRows]
    keys: list[bytes] = field(default_factory=list)

    @classmethod
    def empty(cls, feature_set: FeatureSet) -> ShardRows:
        """Return no rows of this feature set."""
        return cls({spec.name: FieldRows() for spec in feature_set.fields})

    def append(self, key: bytes, parts: Mapping[str, tuple[int, int, Buffer]]) -> None:
        """Add one sample: for every field its number of frames, hash and bytes."""
        self.keys.append(key)
        for name, rows in self.fields.items():
            length, digest, buffer = parts[name]
            rows.lengths.append(length)
            rows.hashes.append(digest)
            rows.buffers.append(buffer)


@dataclass(frozen=True)
class FieldIndex:
    """Where the samples of one field lie: `offsets` [N+1] in frames, `hashes` [N], values at `extent`."""

    spec: FieldSpec
    extent: Extent
    offsets: Int64
    hashes: UInt64


@dataclass(frozen=True)
class ShardIndex:
    """Everything about a shard but its values."""

    shard_id: str
    fingerprint: str
    keys: npt.NDArray[np.uint8]
    fields: dict[str, FieldIndex]
    provenance: str

    @property
    def num_samples(self) -> int:
        """Number of samples (N)."""
        return len(self.keys)


def write_shard_group(
    builder: FileBuilder,
    group: h5py.Group,
    feature_set: FeatureSet,
    rows: ShardRows,
    identity: tuple[str, str],
) -> None:
    """Plan one shard inside `group`; `identity` is (shard id, provenance JSON)."""
    shard_id, provenance = identity
    builder.encoding(group, SHARD, SHARD_VERSION)
    builder.text(group, "shard_id", shard_id)
    builder.text(group, "featureset", feature_set.fingerprint)
    builder.integer(group, "n", len(rows.keys))
    stated = _write_provenance(builder, group, provenance)
    keys = np.frombuffer(b"".join(rows.keys), np.uint8).reshape(-1, KEY_BYTES)
    builder.numbers(group, "keys", "uint8", keys)
    fields = builder.group(group, "fields", "dict", "1.0")
    index: dict[str, tuple[FieldSpec, Int64, UInt64]] = {}
    for spec in feature_set.fields:
        field_rows = rows.fields[spec.name]
        offsets = np.zeros(len(rows.keys) + 1, np.int64)
        np.cumsum(field_rows.lengths, out=offsets[1:])
        hashes = np.array(field_rows.hashes, np.uint64)
        node = builder.group(fields, spec.name, RAGGED, RAGGED_VERSION)
        builder.text(node, "codec", "none")
        shape = (int(offsets[-1]), spec.width)
        builder.array(node, "values", spec.dtype, shape, field_rows.buffers)
        builder.numbers(node, "offsets", "int64", offsets)
        builder.numbers(node, "xxh3", "uint64", hashes)
        index[spec.name] = (spec, offsets, hashes)
    digest = index_digest(shard_id, feature_set.fingerprint, stated, keys, index)
    builder.text(group, "index_xxh3_128", digest)
    builder.integer(group, "complete", 1)


def read_shard_group(file: SafeFile, group: h5py.Group, feature_set: FeatureSet) -> ShardIndex:
    """Read and check the index of a shard.

    Raises:
        StoreFormatError: when the structure is not a shard of this feature set.
        StoreCorruptError: when the index does not match its digest.
    """
    check_encoding(file, group, SHARD)
    shard_id, fingerprint = file.text(group, "shard_id"), file.text(group, "featureset")
    if fingerprint != feature_set.fingerprint:
        raise file.refusal(f"it belongs to feature set {fingerprint}, not {feature_set.fingerprint}")
    num_samples = file.integer(group, "n")
    if file.integer(group, "complete") != 1 or not 0 <= num_samples <= file.num_bytes // KEY_BYTES:
        raise file.refusal(f"it declares {num_samples} samples, more than it can hold, or is not complete")
    stated = file.text(group, "provenance")
    keys = file.array(group, "keys", "uint8", (num_samples, KEY_BYTES)).astype(np.uint8, copy=False)
    container = file.group(group, "fields")
    fields = {
        spec.name: _read_field(file, file.group(container, spec.name), spec, num_samples)
        for spec in feature_set.fields
    }
    index = {name: (item.spec, item.offsets, item.hashes) for name, item in fields.items()}
    if index_digest(shard_id, fingerprint, stated, keys, index) != file.text(group, "index_xxh3_128"):
        raise StoreCorruptError(
            f"{file.path}: the index of the shard does not match its digest",
            "Run `msakit store validate --repair`; the samples it loses are listed for another extraction.",
        )
    return ShardIndex(shard_id, fingerprint, keys, fields, _read_provenance(file, group, stated))


def index_digest(
    shard_id: str,
    fingerprint: str,
    provenance: str,
    keys: npt.NDArray[np.uint8],
    fields: Mapping[str, tuple[FieldSpec, Int64, UInt64]],
) -> str:
    """Return the xxh3-128 of everything that says which bytes are whose (docs/format.md, "Index digest")."""
    names = sorted(fields)
    header = {
        "shard_id": shard_id,
        "featureset": fingerprint,
        "provenance": provenance,
        "n": len(keys),
        "fields": [
            {"name": name, "dtype": fields[name][0].dtype, "width": fields[name][0].width, "codec": "none"}
            for name in names
        ],
    }
    state = xxhash.xxh3_128(canonical_json(header))
    state.update(np.ascontiguousarray(keys).data)
    for name in names:
        _, offsets, hashes = fields[name]
        state.update(np.ascontiguousarray(offsets, "<i8").data)
        state.update(np.ascontiguousarray(hashes, "<u8").data)
    return state.hexdigest()


def _write_provenance(builder: FileBuilder, group: h5py.Group, document: str) -> str:
    """Write the provenance and return the attribute's text: itself, or where there is no room its digest."""
    raw = document.encode()
    stated = document
    if len(raw) > LONGEST_TEXT_BYTES:
        stated = canonical_json({"bytes": len(raw), "xxh3_128": xxhash.xxh3_128_hexdigest(raw)}).decode()
        builder.numbers(group, PROVENANCE_ARRAY, "uint8", np.frombuffer(raw, np.uint8))
    builder.text(group, "provenance", stated)
    return stated


def _read_provenance(file: SafeFile, group: h5py.Group, stated: str) -> str:
    document = stated
    if file.has(group, PROVENANCE_ARRAY):
        raw = file.read(file.extent(group, PROVENANCE_ARRAY)).tobytes()
        expected = canonical_json({"bytes": len(raw), "xxh3_128": xxhash.xxh3_128_hexdigest(raw)})
        if stated.encode() != expected:
            raise StoreCorruptError(
                f"{file.path}: the provenance does not match its digest",
                "Run `msakit store validate --repair`.",
            )
        document = raw.decode(errors="replace")
    try:
        data = json.loads(document)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise file.refusal("its provenance is not a JSON object")
    return document


def _read_field(file: SafeFile, group: h5py.Group, spec: FieldSpec, num_samples: int) -> FieldIndex:
    check_encoding(file, group, RAGGED)
    if file.text(group, "codec") != "none":
        raise file.refusal(
            f"{group.name} uses the codec {file.text(group, 'codec')!r}, which this version cannot read"
        )
    extent = file.extent(group, "values")
    if extent.dtype != spec.dtype or len(extent.shape) != 2 or extent.shape[1] != spec.width:
        raise file.refusal(
            f"{group.name}/values is {extent.dtype}{list(extent.shape)}, "
            f"expected {spec.dtype}[R, {spec.width}]"
        )
    offsets = file.array(group, "offsets", "int64", (num_samples + 1,)).astype(np.int64, copy=False)
    if offsets[0] != 0 or offsets[-1] != extent.shape[0] or np.any(np.diff(offsets) < 0):
        raise file.refusal(f"{group.name}/offsets do not partition the {extent.shape[0]} rows of values")
    hashes = file.array(group, "xxh3", "uint64", (num_samples,)).astype(np.uint64, copy=False)
    return FieldIndex(spec, extent, offsets, hashes)
