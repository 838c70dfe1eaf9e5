"""Reading padded batches straight from the page cache (docs/format.md, "Reading").

No HDF5 handle is kept: values are mapped by offset, after their bounds are checked, so a reader may be forked
and pickled, and readers of any number of processes share the same memory.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.dtypes import (
    Array,
    bfloat16_to_float32,
    count_nonfinite,
    decode_float32,
    storage_dtype,
)
from msakit.feature_store.errors import StoreCorruptError, StoreError, StoreFormatError
from msakit.feature_store.regular import map_file
from msakit.feature_store.table import FeatureColumn

Verify = Literal["first", "always", "never"]
Int64 = npt.NDArray[np.int64]
Rows = Sequence[int] | Int64

NOWHERE = np.iinfo(np.int64).max
"""Base of a shard that holds no sample of the table."""


@dataclass(frozen=True)
class PaddedBatch:
    """A batch of ragged sequences.

    Attributes:
        values: float32 [B, Tmax, D], zero behind each sequence's end; of another dtype only on request.
        lengths: int64 [B]; 0 for a sample that is absent or empty.
        present: bool [B]; False where the sample has no features of this modality at all.
    """

    values: npt.NDArray[Any]
    lengths: Int64
    present: npt.NDArray[np.bool_]


class FeatureReader:
    """Reads the features of one modality for the rows of one table, as of the moment it was made.

    Attributes:
        modality: name of the modality.
        width: features per frame (D).
        dtype: storage type; batches are float32 whatever it is.
        frame_shift_s: seconds between frames, or None.
        lengths: frames per table row, int64 [N]; 0 where absent.
        present: whether the row has features, bool [N].
    """

    def __init__(self, index: SampleIndex, column: FeatureColumn, *, verify: Verify = "first") -> None:
        feature_set = self.feature_set = index.feature_set
        self.modality, self.width, self.dtype = feature_set.modality, feature_set.width, feature_set.dtype
        self.frame_shift_s = feature_set.frame_shift_s
        self.verify = verify
        rows = index.find(column.keys)
        missing = np.flatnonzero(column.present & (rows < 0))
        if len(missing):
            raise StoreError(
                f"{len(missing)} samples of the table have no {self.modality} features in feature set "
                f"{feature_set.fingerprint} (the first is row {missing[0]})",
                "Written since the store was opened? store.refresh(). Else extract or import them again.",
            )
        self.present: npt.NDArray[np.bool_] = column.present & (rows >= 0)
        rows = np.where(self.present, rows, 0)
        place = index.places[self.modality]
        self._keys = column.keys
        self._paths = [ref.path for ref in index.shards]
        self._sizes = [ref.num_bytes for ref in index.shards]
        empty = len(index) == 0
        self._shard = np.zeros(len(rows), np.int32) if empty else index.shard[rows]
        self._start = np.zeros(len(rows), np.int64) if empty else place.start[rows]
        self._hashes = np.zeros(len(rows), np.uint64) if empty else place.hashes[rows]
        lengths = np.zeros(len(rows), np.int64) if empty else place.length[rows].astype(np.int64)
        self.lengths: Int64 = np.where(self.present, lengths, 0)
        self._storage = storage_dtype(self.dtype)
        self._row_bytes = self.width * storage_dtype(self.dtype).itemsize
        self._base, self._first = self._check_bounds()
        self._verified = ~self.present | (self.lengths == 0)
        self._all_verified = verify == "never"
        self._touched = np.zeros(len(rows), bool)
        self._maps: dict[int, mmap.mmap] = {}
        self._frames: dict[int, Array] = {}

    def __len__(self) -> int:
        """Number of table rows (N)."""
        return len(self.lengths)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind: another process makes its own."""
        return self.__dict__ | {"_maps": {}, "_frames": {}}

    def read(
        self, rows: Rows, out: npt.NDArray[Any] | None = None, *, as_stored: bool = False
    ) -> PaddedBatch:
        """Read rows into a padded batch.

        Args:
            rows: table rows, in the batch's order.
            out: buffer [>= B, >= Tmax, D] to fill instead of a new one (for instance pinned memory), float32
                or of the stored dtype (half as much for a GPU); the batch is a view of it, valid until
                its next use.
            as_stored: without `out`: keep the stored dtype (bfloat16 as bit patterns in uint16) instead of
                converting to float32, which torch does several times faster (`collate.read_tensors`).

        Returns:
            The batch; Tmax is the longest length, at least 1.

        Raises:
            StoreCorruptError: naming the sample whose bytes do not match their checksum.
            StoreError: when `out` is too small.
        """
        index = np.asarray(rows, np.int64)
        lengths = self.lengths[index]
        num_frames = max(1, int(lengths.max(initial=0)))
        target_dtype = self._storage if as_stored else np.dtype(np.float32)
        values = self._buffer(out, (len(index), num_frames), target_dtype)
        if not self._all_verified:
            self._check_content(index)
        widen = self.dtype == "bfloat16" and values.dtype == np.float32
        for target, stored, length in zip(values, self._stored(index), lengths.tolist(), strict=True):
            if length:
                target[:length] = bfloat16_to_float32(stored) if widen else stored
            if length < num_frames:
                target[length:] = 0.0
        return PaddedBatch(values, lengths, self.present[index])

    def read_one(self, row: int) -> npt.NDArray[np.float32]:
        """Read one row as float32 [T, D] (a copy)."""
        self._check_content(np.array([row], np.int64))
        return np.array(decode_float32(self.view(row), self.dtype), np.float32)

    def view(self, row: int) -> Array:
        """Return the stored values of a row [T, D], read-only, unverified; bfloat16 as bit patterns."""
        [stored] = self._stored(np.array([row], np.int64))
        return stored

    def count_nonfinite(self, rows: Rows | None = None) -> Int64:
        """Count NaN and infinities per row, int64 [len(rows)]; reads the values."""
        index = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        return np.array(
            [
                count_nonfinite(self.view(row), self.dtype) if self.lengths[row] else 0
                for row in index.tolist()
            ],
            np.int64,
        )

    def prefetch(self, rows: Rows) -> None:
        """Ask the system to bring rows into memory; does nothing for rows that probably are there.

        Rows never touched by this reader are asked for. Of the others one is probed: if it left the memory
        (the store is larger than it), the rest are asked for too.
        """
        index = np.asarray(rows, np.int64)
        index = index[self.lengths[index] > 0]
        fresh = ~self._touched[index]
        self._touched[index] = True
        wanted = (
            index if len(index) and not fresh.all() and self._evicted(int(index[~fresh][0])) else index[fresh]
        )
        for row in wanted.tolist():
            shard = int(self._shard[row])
            mapped = self._maps[shard] if shard in self._maps else self._map(shard)
            begin = int(self._start[row]) & ~(mmap.PAGESIZE - 1)
            stop = int(self._start[row] + self.lengths[row] * self._row_bytes)
            mapped.madvise(mmap.MADV_WILLNEED, begin, stop - begin)

    def _stored(self, index: Int64) -> Iterator[Array]:
        """Yield the stored values of rows; all maps are open before the first one."""
        shards, firsts = self._shard[index].tolist(), self._first[index]
        for shard in {*shards} - self._frames.keys():
            self._frames[shard] = self._map_frames(shard)
        frames = self._frames
        for shard, first, stop in zip(
            shards, firsts.tolist(), (firsts + self.lengths[index]).tolist(), strict=True
        ):
            yield frames[shard][first:stop]

    def _buffer(
        self, out: npt.NDArray[Any] | None, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        num_rows, num_frames = shape
        if out is None:
            return np.empty((num_rows, num_frames, self.width), dtype)
        if out.dtype not in (np.float32, self._storage) or out.ndim != 3 or out.shape[2] != self.width:
            raise StoreError(f"out is {out.dtype}{list(out.shape)}", f"Pass float32 [B, T, {self.width}].")
        if out.shape[0] < num_rows or out.shape[1] < num_frames:
            raise StoreError(
                f"out {list(out.shape)} is smaller than the batch [{num_rows}, {num_frames}, {self.width}]",
                "Size it by reader.lengths.max().",
            )
        return out[:num_rows, :num_frames]

    def _check_content(self, index: Int64) -> None:
        pending = index if self.verify == "always" else index[~self._verified[index]]
        hashes = self._hashes[pending].tolist()
        for row, stored, digest in zip(pending.tolist(), self._stored(pending), hashes, strict=True):
            if len(stored) and xxhash.xxh3_64_intdigest(stored.data) != digest:
                raise StoreCorruptError(
                    f"{self._paths[int(self._shard[row])]}: sample {self._keys[row].tobytes().hex()} "
                    f"(table row {row}) does not match its checksum",
                    "Run `msakit store validate --repair`, then extract or import what it lists.",
                )
        if self.verify == "first":
            self._verified[pending] = True
            self._all_verified = bool(self._verified.all())

    def _check_bounds(self) -> tuple[Int64, Int64]:
        """Check that every sample lies inside its shard, whatever the index (derived data) says.

        Returns:
            The byte where the first sample of each shard begins, and for each row its first frame from there.
        """
        base = np.full(len(self._paths) or 1, NOWHERE)
        there = self.lengths > 0
        np.minimum.at(base, self._shard[there], self._start[there])
        sizes = np.array(self._sizes or [0], np.int64)[self._shard]
        distance = np.where(there, self._start - base[self._shard], 0)
        inside = (self._start > 0) & (self.lengths <= (sizes - self._start) // self._row_bytes)
        if np.any(there & ~(inside & (distance % self._row_bytes == 0))):
            raise StoreFormatError(
                f"{self._paths[0].parent}: the index places samples outside their shard",
                "Delete the index folder; it is rebuilt.",
            )
        return base, distance // self._row_bytes

    def _map_frames(self, shard: int) -> Array:
        """Map a shard and return its frames [R, D] from the first sample on (not np.memmap: slow)."""
        base = int(self._base[shard])
        if base == NOWHERE:
            return np.zeros((0, self.width), storage_dtype(self.dtype))
        mapped = self._maps[shard] if shard in self._maps else self._map(shard)
        shape = ((len(mapped) - base) // self._row_bytes, self.width)
        return np.ndarray(shape, storage_dtype(self.dtype), mapped, base)

    def _map(self, shard: int) -> mmap.mmap:
        mapped = map_file(self._paths[shard], self._sizes[shard])
        # Without this the kernel reads ahead megabytes around every random sample.
        mapped.madvise(mmap.MADV_RANDOM)
        self._maps[shard] = mapped
        return mapped

    def _evicted(self, row: int) -> bool:
        shard = int(self._shard[row])
        if shard not in self._maps:
            return True
        middle = int(self._start[row]) + int(self.lengths[row]) * self._row_bytes // 2
        page = np.frombuffer(self._maps[shard], np.uint8, 1, middle & ~(mmap.PAGESIZE - 1))
        state = ctypes.c_ubyte(1)
        _mincore()(ctypes.c_void_p(page.ctypes.data), ctypes.c_size_t(1), ctypes.byref(state))
        return not state.value & 1


def _mincore() -> Any:
    return ctypes.CDLL(None).mincore


def prefetched(
    readers: Sequence[FeatureReader], batches: Iterable[Int64], lookahead: int = 4
) -> Iterator[Int64]:
    """Yield batches of rows while the system reads the next ones from the disk.

    Costs nothing to speak of when they are in memory.
    """
    pending: list[Int64] = []
    for rows in batches:
        for reader in readers:
            reader.prefetch(rows)
        pending.append(rows)
        if len(pending) > lookahead:
            yield pending.pop(0)
    yield from pending
