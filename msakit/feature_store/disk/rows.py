"""Taking stored rows out of shards again, byte for byte, to write them elsewhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.disk.shard import ShardRows
from msakit.feature_store.errors import StoreCorruptError, StoreError
from msakit.feature_store.regular import map_file

MERGED = "merged"
"""The one member of the provenance of a shard whose samples come from several shards."""


class RowSource:
    """Raw access to the samples of a index. Close it after the rows were written."""

    def __init__(self, index: SampleIndex) -> None:
        self.index = index
        self._views: dict[int, memoryview] = {}

    def rows_of(self, keys: npt.NDArray[np.uint8]) -> ShardRows:
        """Return the rows of the given keys [M, 16], every checksum verified, as views of the mapped shards.

        Raises:
            StoreError: when a key is not stored.
            StoreCorruptError: when a sample's bytes do not match their checksum.
        """
        found = self.index.find(keys)
        absent = np.flatnonzero(found < 0)
        if len(absent):
            raise StoreError(
                f"{len(absent)} samples are not in feature set {self.index.feature_set.fingerprint}, "
                f"the first is {keys[absent[0]].tobytes().hex()}",
                "Extract or import them again.",
            )
        rows = ShardRows.empty(self.index.feature_set)
        for row in found.tolist():
            rows.append(self.index.keys[row].tobytes(), self._parts(row))
        return rows

    def meta(self, key: bytes) -> dict[str, object]:
        """Return the metadata stored with a sample."""
        rows = self.rows_of(np.frombuffer(key, np.uint8).reshape(1, -1))
        document = bytes(rows.fields["meta"].buffers[0])
        data: dict[str, object] = json.loads(document) if document else {}
        return data

    def provenance(self) -> str:
        """Distinct provenance documents of the shards as one; those merged before are taken apart again."""
        documents: dict[str, Any] = {}
        for ref in self.index.shards:
            data = json.loads(ref.provenance)
            for part in data[MERGED] if isinstance(data.get(MERGED), list) else [data]:
                documents[canonical_json(part).decode()] = part
        if len(documents) == 1:
            return next(iter(documents))
        return canonical_json({MERGED: [documents[text] for text in sorted(documents)]}).decode()

    def close(self) -> None:
        """Release the maps."""
        for view in self._views.values():
            view.release()
        self._views.clear()

    def _parts(self, row: int) -> dict[str, tuple[int, int, memoryview]]:
        shard = int(self.index.shard[row])
        view = self._views.get(shard)
        if view is None:
            view = self._views[shard] = self._map(shard)
        parts = {}
        for spec in self.index.feature_set.fields:
            place = self.index.places[spec.name]
            start, length, digest = int(place.start[row]), int(place.length[row]), int(place.hashes[row])
            part = view[start : start + length * spec.row_bytes]
            if xxhash.xxh3_64_intdigest(part) != digest:
                raise StoreCorruptError(
                    f"{self.index.shards[shard].path}: sample {self.index.keys[row].tobytes().hex()} "
                    "does not match its checksum",
                    "Run `msakit store validate --repair`.",
                )
            parts[spec.name] = (length, digest, part)
        return parts

    def _map(self, shard: int) -> memoryview:
        ref = self.index.shards[shard]
        return memoryview(map_file(ref.path, ref.num_bytes))
