"""The sample index: every sample of a feature set with its place, derived from the shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.shard import ShardIndex, read_shard_group
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ShardRef:
    """One shard as the index saw it: a changed size or time means another file."""

    path: Path
    num_bytes: int
    mtime_ns: int
    provenance: str
    num_samples: int


@dataclass(frozen=True)
class Places:
    """Where the samples of one field lie: byte offset in the shard's file, frames, checksum; each [N]."""

    start: Int64
    length: npt.NDArray[np.int32]
    hashes: UInt64


@dataclass(frozen=True)
class SampleIndex:
    """A snapshot of one feature set: samples sorted by key, one row per key."""

    feature_set: FeatureSet
    shards: tuple[ShardRef, ...]
    keys: Keys
    shard: npt.NDArray[np.int32]
    places: dict[str, Places]
    num_duplicates: int
    conflicts: tuple[bytes, ...]
    """Keys stored more than once with different values: the extractor is not deterministic."""

    def __len__(self) -> int:
        """Number of distinct samples."""
        return len(self.keys)

    @cached_property
    def _prefixes(self) -> UInt64:
        return prefixes(self.keys)

    def find(self, keys: Keys) -> Int64:
        """Return the row of each key [M, 16], or -1 where there is none."""
        if not len(self.keys) or not len(keys):
            return np.full(len(keys), -1, np.int64)
        own, wanted = self._prefixes, prefixes(keys)
        rows = np.searchsorted(own, wanted).astype(np.int64)
        pending = np.arange(len(keys))
        while len(pending):
            inside = rows[pending] < len(own)
            rows[pending[~inside]] = -1
            pending = pending[inside]
            same_prefix = own[rows[pending]] == wanted[pending]
            rows[pending[~same_prefix]] = -1
            pending = pending[same_prefix]
            found = (self.keys[rows[pending]] == keys[pending]).all(axis=1)
            pending = pending[~found]
            rows[pending] += 1
        return rows


def prefixes(keys: Keys) -> UInt64:
    """First eight bytes of each key as a big-endian number, which sorts as the keys do."""
    return np.ascontiguousarray(keys[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def index_shard_file(path: Path, feature_set: FeatureSet) -> SampleIndex:
    """Read one shard file into an index of its own."""
    with open_safely(path) as file:
        stat = os.fstat(file.fd)
        parsed = read_shard_group(file, file.root, feature_set)
    ref = ShardRef(path, stat.st_size, stat.st_mtime_ns, parsed.provenance, parsed.num_samples)
    return merge_indexes(feature_set, [index_shard(feature_set, parsed, ref)])


def index_shard(feature_set: FeatureSet, parsed: ShardIndex, ref: ShardRef) -> SampleIndex:
    """Turn what a shard says of its samples into an index, in the order of the shard."""
    places = {
        name: Places(
            item.extent.offset + item.offsets[:-1] * item.spec.row_bytes,
            np.diff(item.offsets).astype(np.int32),
            item.hashes,
        )
        for name, item in parsed.fields.items()
    }
    return SampleIndex(feature_set, (ref,), parsed.keys, np.zeros(len(parsed.keys), np.int32), places, 0, ())


def merge_indexes(feature_set: FeatureSet, parts: Sequence[SampleIndex]) -> SampleIndex:
    """Join indexes; one row per key, differences between duplicates recorded."""
    shards = tuple(ref for part in parts for ref in part.shards)
    bases = np.cumsum([0, *(len(part.shards) for part in parts)])
    keys = _joined([part.keys for part in parts], (0, KEY_BYTES), np.uint8)
    shard = _joined(
        [part.shard + np.int32(base) for part, base in zip(parts, bases, strict=False)], (0,), np.int32
    )
    places = {
        spec.name: Places(
            _joined([part.places[spec.name].start for part in parts], (0,), np.int64),
            _joined([part.places[spec.name].length for part in parts], (0,), np.int32),
            _joined([part.places[spec.name].hashes for part in parts], (0,), np.uint64),
        )
        for spec in feature_set.fields
    }
    # Of a key stored twice the first shard by name counts, whatever order the parts came in.
    ranks = np.argsort(np.argsort([ref.path.name for ref in shards])) if shards else np.zeros(0, np.int64)
    order = np.lexsort((ranks[shard], _suffixes(keys), prefixes(keys)))
    ordered = keys[order]
    first = np.ones(len(keys), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    values = places[feature_set.modality].hashes[order]
    differs = ~first[1:] & (values[1:] != values[:-1])
    conflicts = {key.tobytes() for key in ordered[1:][differs]}.union(*(part.conflicts for part in parts))
    chosen = order[first]
    return SampleIndex(
        feature_set,
        shards,
        keys[chosen],
        shard[chosen],
        {name: Places(p.start[chosen], p.length[chosen], p.hashes[chosen]) for name, p in places.items()},
        sum(part.num_duplicates for part in parts) + int(np.count_nonzero(~first)),
        tuple(sorted(conflicts)),
    )


def _joined(arrays: Iterable[npt.NDArray[Any]], empty: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
    items = list(arrays)
    return np.concatenate(items).astype(dtype, copy=False) if items else np.zeros(empty, dtype)


def _suffixes(keys: Keys) -> UInt64:
    return np.ascontiguousarray(keys[:, 8:]).view(">u8").reshape(-1).astype(np.uint64)
