"""The catalog: every sample of a feature set with its place, derived from the shards and cached beside them.

It is never trusted without its digest and can be deleted at any time (docs/format.md, "Catalog").
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.disk.files import temporary_name
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.layout import FeatureSetFolder, list_folder
from msakit.feature_store.disk.shard import ShardIndex, read_shard_group
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES

CATALOG_VERSION = 1

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ShardRef:
    """One shard as the catalog saw it: a changed size or time means another file."""

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
class Catalog:
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


def read_catalog(folder: FeatureSetFolder, feature_set: FeatureSet, *, writable: bool) -> Catalog:
    """Return the catalog of the shards present now, reusing the cached one as far as it holds.

    Raises:
        StoreError: when a shard is damaged; its name is in the message.
    """
    paths = folder.live_shards()
    stats = [path.stat() for path in paths]
    wanted = {path.name: (stat.st_size, stat.st_mtime_ns) for path, stat in zip(paths, stats, strict=True)}
    cached = _load_newest(folder, feature_set)
    known = {ref.path.name: (ref.num_bytes, ref.mtime_ns) for ref in cached.shards} if cached else {}
    if cached is not None and known == wanted:
        return cached
    parts: list[Catalog] = []
    if cached is not None and all(wanted.get(name) == state for name, state in known.items()):
        parts.append(cached)
        paths = [path for path in paths if path.name not in known]
    parts += [catalog_of_shard(path, feature_set) for path in paths]
    catalog = merge_catalogs(feature_set, parts)
    if writable:
        with contextlib.suppress(OSError):  # the cache is a convenience; a full disk must not stop reading
            _save(folder, catalog)
    return catalog


def catalog_of_shard(path: Path, feature_set: FeatureSet) -> Catalog:
    """Read one shard file into a catalog of its own."""
    with open_safely(path) as file:
        stat = os.fstat(file.fd)
        index = read_shard_group(file, file.root, feature_set)
    ref = ShardRef(path, stat.st_size, stat.st_mtime_ns, index.provenance, index.num_samples)
    return merge_catalogs(feature_set, [catalog_of_index(feature_set, index, ref)])


def catalog_of_index(feature_set: FeatureSet, index: ShardIndex, ref: ShardRef) -> Catalog:
    """Turn a shard's index into catalog rows, in the shard's order."""
    places = {
        name: Places(
            item.extent.offset + item.offsets[:-1] * item.spec.row_bytes,
            np.diff(item.offsets).astype(np.int32),
            item.hashes,
        )
        for name, item in index.fields.items()
    }
    return Catalog(feature_set, (ref,), index.keys, np.zeros(len(index.keys), np.int32), places, 0, ())


def merge_catalogs(feature_set: FeatureSet, parts: Sequence[Catalog]) -> Catalog:
    """Join catalogs; one row per key, differences between duplicates recorded."""
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
    return Catalog(
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


def _save(folder: FeatureSetFolder, catalog: Catalog) -> None:
    header = {
        "version": CATALOG_VERSION,
        "featureset": folder.fingerprint,
        "num_duplicates": catalog.num_duplicates,
        "conflicts": [key.hex() for key in catalog.conflicts],
        "shards": [
            [r.path.name, r.num_bytes, r.mtime_ns, r.provenance, r.num_samples] for r in catalog.shards
        ],
    }
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "keys": catalog.keys,
        "shard": catalog.shard,
    }
    for name, place in catalog.places.items():
        arrays |= {f"{name}/start": place.start, f"{name}/length": place.length, f"{name}/xxh3": place.hashes}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    tmp = temporary_name(folder.tmp, ".npz")
    final = folder.catalog / f"{xxhash.xxh3_128_hexdigest(content)}.npz"
    try:
        tmp.write_bytes(content)
        tmp.replace(final)
    except OSError:
        tmp.unlink(missing_ok=True)
        raise
    for path in list_folder(folder.catalog):
        if path != final:
            path.unlink(missing_ok=True)


def _load_newest(folder: FeatureSetFolder, feature_set: FeatureSet) -> Catalog | None:
    candidates = [path for path in list_folder(folder.catalog) if path.suffix == ".npz"]
    for path in sorted(candidates, key=_mtime, reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, StoreError):
            content = path.read_bytes()
            if xxhash.xxh3_128_hexdigest(content) == path.stem:
                return _parse(content, folder, feature_set)
    return None


def _parse(content: bytes, folder: FeatureSetFolder, feature_set: FeatureSet) -> Catalog:
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        header = json.loads(data["header"].tobytes())
        if header["version"] != CATALOG_VERSION or header["featureset"] != folder.fingerprint:
            raise StoreError("another catalog version")
        places = {
            spec.name: Places(
                data[f"{spec.name}/start"], data[f"{spec.name}/length"], data[f"{spec.name}/xxh3"]
            )
            for spec in feature_set.fields
        }
        return Catalog(
            feature_set,
            tuple(ShardRef(folder.shards / name, *rest) for name, *rest in header["shards"]),
            data["keys"],
            data["shard"],
            places,
            header["num_duplicates"],
            tuple(bytes.fromhex(key) for key in header["conflicts"]),
        )


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
