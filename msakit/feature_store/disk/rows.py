"""Taking stored rows out of shards again, byte for byte, to write them elsewhere."""

from __future__ import annotations

import json
import mmap

import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.catalog import Catalog
from msakit.feature_store.disk.shard import ShardRows
from msakit.feature_store.errors import StoreCorruptError, StoreError


class RowSource:
    """Raw access to the samples of a catalog. Close it after the rows were written."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._views: dict[int, memoryview] = {}

    def rows_of(self, keys: npt.NDArray[np.uint8]) -> ShardRows:
        """Return the rows of the given keys [M, 16], every checksum verified, as views of the mapped shards.

        Raises:
            StoreError: when a key is not stored.
            StoreCorruptError: when a sample's bytes do not match their checksum.
        """
        found = self.catalog.find(keys)
        absent = np.flatnonzero(found < 0)
        if len(absent):
            raise StoreError(
                f"{len(absent)} samples are not in feature set {self.catalog.feature_set.fingerprint}, "
                f"the first is {keys[absent[0]].tobytes().hex()}",
                "Extract or import them again.",
            )
        rows = ShardRows.empty(self.catalog.feature_set)
        for row in found.tolist():
            rows.append(self.catalog.keys[row].tobytes(), self._parts(row))
        return rows

    def meta(self, key: bytes) -> dict[str, object]:
        """Return the metadata stored with a sample."""
        rows = self.rows_of(np.frombuffer(key, np.uint8).reshape(1, -1))
        document = bytes(rows.fields["meta"].buffers[0])
        data: dict[str, object] = json.loads(document) if document else {}
        return data

    def provenance(self) -> str:
        """Distinct provenance documents of the shards, as one JSON document."""
        documents = sorted({ref.provenance for ref in self.catalog.shards})
        if len(documents) == 1:
            return documents[0]
        return canonical_json({"merged": [json.loads(document) for document in documents]}).decode()

    def close(self) -> None:
        """Release the maps."""
        for view in self._views.values():
            view.release()
        self._views.clear()

    def _parts(self, row: int) -> dict[str, tuple[int, int, memoryview]]:
        shard = int(self.catalog.shard[row])
        view = self._views.get(shard)
        if view is None:
            view = self._views[shard] = self._map(shard)
        parts = {}
        for spec in self.catalog.feature_set.fields:
            place = self.catalog.places[spec.name]
            start, length, digest = int(place.start[row]), int(place.length[row]), int(place.hashes[row])
            part = view[start : start + length * spec.row_bytes]
            if xxhash.xxh3_64_intdigest(part) != digest:
                raise StoreCorruptError(
                    f"{self.catalog.shards[shard].path}: sample {self.catalog.keys[row].tobytes().hex()} "
                    "does not match its checksum",
                    "Run `msakit store validate --repair`.",
                )
            parts[spec.name] = (length, digest, part)
        return parts

    def _map(self, shard: int) -> memoryview:
        with self.catalog.shards[shard].path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
