"""The sample index as it is cached beside the shards (docs/format.md, "Reading").

Derived: never trusted without its digest, never larger than its shards explain, deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from msakit.feature_store.disk.files import list_folder, temporary_name
from msakit.feature_store.disk.layout import SHARD_NAME, FeatureSetFolder
from msakit.feature_store.disk.sample_index import (
    Places,
    SampleIndex,
    ShardRef,
    index_shard_file,
    merge_indexes,
)
from msakit.feature_store.dtypes import Array
from msakit.feature_store.errors import StoreError, StoreFormatError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES
from msakit.feature_store.regular import read_bounded, reading

INDEX_VERSION = 2
PREFIX = struct.Struct("<4sI")
MAGIC = b"MSKI"
SUFFIX = ".idx"
MALFORMED = (ValueError, LookupError, TypeError, RecursionError, struct.error)
SMALLEST_BOUND = 1 << 20


def read_sample_index(folder: FeatureSetFolder, feature_set: FeatureSet, *, writable: bool) -> SampleIndex:
    """Return the index of the shards present now, reusing the cached one as far as it holds.

    Raises:
        StoreError: when a shard is damaged or cannot be read; its name is in the message.
    """
    paths = folder.live_shards()
    with reading(folder.shards):
        stats = [path.stat() for path in paths]
    wanted = {path.name: (stat.st_size, stat.st_mtime_ns) for path, stat in zip(paths, stats, strict=True)}
    cached = _load_newest(folder, feature_set, sum(size for size, _ in wanted.values()))
    known = {ref.path.name: (ref.num_bytes, ref.mtime_ns) for ref in cached.shards} if cached else {}
    if cached is not None and known == wanted:
        return cached
    parts: list[SampleIndex] = []
    if cached is not None and all(wanted.get(name) == state for name, state in known.items()):
        parts.append(cached)
        paths = [path for path in paths if path.name not in known]
    parts += [index_shard_file(path, feature_set) for path in paths]
    index = merge_indexes(feature_set, parts)
    if writable:
        with contextlib.suppress(OSError):  # the cache is a convenience; a full disk must not stop reading
            _save(folder, index)
    return index


def read_cached(path: Path, limit: int) -> bytes:
    """Read a cached index and check it against its name.

    Raises:
        StoreError: it cannot be read, is larger than `limit`, or does not hash to its name.
    """
    content = read_bounded(path, limit)
    if xxhash.xxh3_128_hexdigest(content) != path.stem:
        raise StoreFormatError(f"{path} does not hash to its name", "Delete it; it is rebuilt.")
    return content


def largest_index(num_shard_bytes: int) -> int:
    """Bytes that the index of shards of this size in total can take: each sample takes more in its shard."""
    return SMALLEST_BOUND + 2 * num_shard_bytes


def _save(folder: FeatureSetFolder, index: SampleIndex) -> None:
    documents = list(dict.fromkeys(ref.provenance for ref in index.shards))
    place_of = {document: place for place, document in enumerate(documents)}
    header = {
        "version": INDEX_VERSION,
        "featureset": folder.fingerprint,
        "n": len(index),
        "num_duplicates": index.num_duplicates,
        "conflicts": [key.hex() for key in index.conflicts],
        "provenance": documents,
        "shards": [
            [r.path.name, r.num_bytes, r.mtime_ns, place_of[r.provenance], r.num_samples]
            for r in index.shards
        ],
    }
    head = json.dumps(header).encode()
    head += b" " * (-(PREFIX.size + len(head)) % 8)
    content = PREFIX.pack(MAGIC, len(head)) + head + b"".join(array.tobytes() for array in _arrays(index))
    final = folder.index / f"{xxhash.xxh3_128_hexdigest(content)}{SUFFIX}"
    final.parent.mkdir(exist_ok=True)
    tmp = temporary_name(folder.tmp, SUFFIX)
    try:
        tmp.write_bytes(content)
        tmp.replace(final)
    except OSError:
        tmp.unlink(missing_ok=True)
        raise
    for path in list_folder(folder.index):
        if path != final:
            path.unlink(missing_ok=True)


def _arrays(index: SampleIndex) -> list[Array]:
    """The arrays in the order they are stored, widest elements first so that each is aligned."""
    places = [index.places[spec.name] for spec in index.feature_set.fields]
    wide = [array for place in places for array in (place.start, place.hashes)]
    return [index.keys, *wide, index.shard, *(place.length for place in places)]


def _load_newest(
    folder: FeatureSetFolder, feature_set: FeatureSet, num_shard_bytes: int
) -> SampleIndex | None:
    candidates = [path for path in list_folder(folder.index) if path.suffix == SUFFIX]
    for path in sorted(candidates, key=_mtime, reverse=True):
        with contextlib.suppress(StoreError, *MALFORMED):
            return _parse(read_cached(path, largest_index(num_shard_bytes)), folder, feature_set)
    return None


def _parse(content: bytes, folder: FeatureSetFolder, feature_set: FeatureSet) -> SampleIndex:
    magic, num_header = PREFIX.unpack_from(content)
    header = json.loads(content[PREFIX.size : PREFIX.size + num_header])
    if (magic, header["version"], header["featureset"]) != (MAGIC, INDEX_VERSION, folder.fingerprint):
        raise ValueError("another kind of index")
    cut = _Cutter(content, PREFIX.size + num_header, int(header["n"]))
    if cut.length < 0 or not all(SHARD_NAME.fullmatch(row[0]) for row in header["shards"]):
        raise ValueError("it names no shards of this folder")
    keys = cut.next("u1", KEY_BYTES)
    wide = {spec.name: (cut.next("<i8"), cut.next("<u8")) for spec in feature_set.fields}
    shard = cut.next("<i4")
    places = {name: Places(start, cut.next("<i4"), hashes) for name, (start, hashes) in wide.items()}
    shards = tuple(
        ShardRef(folder.shards / name, size, mtime_ns, header["provenance"][document], num_samples)
        for name, size, mtime_ns, document, num_samples in header["shards"]
    )
    if cut.position != len(content) or (len(shard) and not 0 <= shard.min() <= shard.max() < len(shards)):
        raise ValueError("its arrays do not fit its header")
    conflicts = tuple(bytes.fromhex(key) for key in header["conflicts"])
    return SampleIndex(feature_set, shards, keys, shard, places, int(header["num_duplicates"]), conflicts)


class _Cutter:
    """Takes arrays of `length` elements from bytes, one after another; never past the end."""

    def __init__(self, content: bytes, position: int, length: int) -> None:
        self._content, self.position, self.length = content, position, length

    def next(self, dtype: str, width: int = 0) -> Any:
        """The next array: [length], or [length, width]."""
        count = self.length * max(1, width)
        array = np.frombuffer(self._content, dtype, count, self.position)
        self.position += array.nbytes
        return array.reshape(self.length, width) if width else array


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
