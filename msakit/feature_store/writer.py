"""The writer of one feature set: acknowledged samples survive kill -9 (docs/format.md, "Writing")."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.adoption import Recovery, adopt_orphans
from msakit.feature_store.disk.files import Buffer, remove_dead_temporaries, translated_errors
from msakit.feature_store.disk.index_cache import read_sample_index
from msakit.feature_store.disk.journal import Journal, Locking
from msakit.feature_store.disk.layout import FeatureSetFolder
from msakit.feature_store.disk.lease import Lease
from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.disk.seal import seal_journal
from msakit.feature_store.dtypes import Array, count_nonfinite, encode, zero_nonfinite
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES

NanPolicy = Literal["error", "keep", "zero"]
Durability = Literal["os", "1s", "each"]

MAX_META_BYTES = 1 << 20
MAX_PROVENANCE_BYTES = 1 << 20
STALE_TEMPORARY_S = 3600.0


@dataclass(frozen=True)
class WriterOptions:
    """How a writer behaves.

    Attributes:
        nan_policy: what NaN and infinities get: "error" refuses the sample, "keep" stores them, "zero"
            stores 0 and notes the count in the sample's metadata.
        durability: what a power cut may take: "os" what the kernel has not written yet, "1s" what was put
            less than a second before the last put or flush, "each" nothing. A killed process loses nothing.
        shard_bytes: journal size at which it is sealed into a shard.
        shard_samples: number of samples at which it is sealed.
        wal_dir: folder for the journals when the store is on slow or lock-less network storage. A lost node
            then loses what it had not sealed.
        locking: "flock", or "none" where the file system has no locks (a journal's owner is then known
            by its process).
        provenance: who extracts, with which versions, on which device: a JSON object of at most 1 MiB, stored
            in every shard.
    """

    nan_policy: NanPolicy = "error"
    durability: Durability = "1s"
    shard_bytes: int = 256 << 20
    shard_samples: int = 65_536
    wal_dir: Path | None = None
    locking: Locking = "flock"
    provenance: Mapping[str, Any] = field(default_factory=dict)


class FeatureWriter:
    """Appends samples of one feature set. One per process and thread; any number beside each other."""

    def __init__(self, folder: FeatureSetFolder, feature_set: FeatureSet, options: WriterOptions) -> None:
        """Take a lease, seal what dead writers left, and see what is stored.

        Raises:
            StoreError: when the provenance is not JSON or too large, or the system refuses.
        """
        self.feature_set = feature_set
        self.options = options
        # Before anything is acknowledged: what sealing would refuse later must never be accepted.
        self._provenance = check_provenance(options.provenance)
        self._folder = folder
        self._wal_dir = options.wal_dir / folder.fingerprint if options.wal_dir else folder.wal
        self._pid = os.getpid()
        self._journal: Journal | None = None
        self._own: dict[bytes, int] = {}
        self._pending = 0
        self._last_sync_s = time.monotonic()
        self._closed = False
        self._lease = Lease(folder, feature_set)
        try:
            with translated_errors(folder.path):
                self._wal_dir.mkdir(parents=True, exist_ok=True)
                for place in {folder.tmp, self._wal_dir}:
                    remove_dead_temporaries(place, STALE_TEMPORARY_S, time.time())
            self.recovery: Recovery = adopt_orphans(
                folder, feature_set, wal_dir=self._wal_dir, locking=options.locking
            )
            self._index: SampleIndex = read_sample_index(folder, feature_set, writable=True)
        except BaseException:
            self._lease.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, key: bytes) -> bool:
        """Tell whether a sample is stored already, by anyone (as of opening) or by this writer."""
        return self._stored_hash(key) is not None

    def put(
        self,
        key: bytes,
        values: Array,
        *,
        intervals: npt.NDArray[np.float64] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store one sample [T, D]; once this returns, killing the process does not lose it.

        Args:
            key: from `sample_key`.
            values: [T, D], any float or integer type; converted to the feature set's dtype. T may be 0.
            intervals: start and end of each frame in seconds [T, 2], for feature sets that have them.
            meta: JSON object of at most 1 MiB.

        Returns:
            True when stored, False when the very same sample was there already.

        Raises:
            StoreError: for a sample that does not fit the feature set, non-finite values under
                nan_policy="error", or other values under a key already stored.
            StoreWriteError: when the system refuses; the sample is then not acknowledged.
        """
        self._check_usable()
        if len(key) != KEY_BYTES:
            raise StoreError(f"the key {key!r} does not have {KEY_BYTES} bytes", "Use sample_key().")
        arrays = self._arrays(key, values, intervals, meta)
        hashes = {name: xxhash.xxh3_64_intdigest(array.data) for name, array in arrays.items()}
        stored = self._stored_hash(key)
        if stored is not None:
            if stored == hashes[self.feature_set.modality]:
                return False
            raise StoreError(
                f"{self.feature_set.extractor}: sample {key.hex()} is stored with other values",
                "The extractor is not deterministic, or its numbers changed and its version did not.",
            )
        self._append(key, arrays, hashes)
        return True

    def flush(self, *, seal: bool = False) -> None:
        """Make everything put so far survive a power cut; with `seal`, let readers see it too.

        Raises:
            StoreWriteError: when the system refuses; nothing acknowledged is lost.
        """
        self._check_usable()
        if self._journal is None:
            return
        with translated_errors(self._journal.path):
            self._journal.sync()
        self._last_sync_s = time.monotonic()
        if seal:
            self._seal()

    def close(self) -> None:
        """Seal what is left and release the journal.

        Raises:
            StoreWriteError: when the system refuses; the journal is kept for the next writer.
        """
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        try:
            self._seal()
        finally:
            self._lease.release()

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreError("the writer is closed", "Open another: store.writer(feature_set).")
        if os.getpid() != self._pid:
            raise StoreError("the writer belongs to another process", "Open a writer in each process.")

    def _stored_hash(self, key: bytes) -> int | None:
        if key in self._own:
            return self._own[key]
        row = (
            int(self._index.find(np.frombuffer(key, np.uint8).reshape(1, -1))[0]) if len(self._index) else -1
        )
        return int(self._index.places[self.feature_set.modality].hashes[row]) if row >= 0 else None

    def _arrays(
        self,
        key: bytes,
        values: Array,
        intervals: npt.NDArray[np.float64] | None,
        meta: Mapping[str, Any] | None,
    ) -> dict[str, Array]:
        feature_set, metadata = self.feature_set, dict(meta or {})
        if values.ndim != 2 or values.shape[1] != feature_set.width:
            raise StoreError(
                f"sample {key.hex()} has shape {list(values.shape)}, "
                f"feature set {feature_set.extractor} needs [T, {feature_set.width}]",
                "Check the extractor's width.",
            )
        stored = encode(values, feature_set.dtype)
        num_bad = count_nonfinite(stored, feature_set.dtype)
        if num_bad and self.options.nan_policy == "error":
            raise StoreError(
                f"sample {key.hex()} has {num_bad} values that are NaN, infinite "
                f"or beyond {feature_set.dtype}",
                'Choose a policy: nan_policy="keep" stores them, nan_policy="zero" replaces them by 0.',
            )
        if num_bad and self.options.nan_policy == "zero":
            stored = zero_nonfinite(stored, feature_set.dtype)
            metadata["num_zeroed"] = num_bad
        arrays: dict[str, Array] = {feature_set.modality: stored}
        if feature_set.intervals:
            arrays["intervals"] = self._intervals(key, intervals, len(stored))
        elif intervals is not None:
            raise StoreError("this feature set stores no intervals", "Create it with intervals=True.")
        document = canonical_json(metadata) if metadata else b""
        if len(document) > MAX_META_BYTES:
            raise StoreError(
                f"the metadata of sample {key.hex()} exceeds {MAX_META_BYTES} bytes", "Shorten it."
            )
        arrays["meta"] = np.frombuffer(document, np.uint8)
        return arrays

    @staticmethod
    def _intervals(key: bytes, intervals: npt.NDArray[np.float64] | None, num_frames: int) -> Array:
        if intervals is None or np.shape(intervals) != (num_frames, 2):
            raise StoreError(
                f"sample {key.hex()} needs intervals [{num_frames}, 2]", "Pass start and end in seconds."
            )
        return np.ascontiguousarray(intervals, "<f8")

    def _append(self, key: bytes, arrays: Mapping[str, Array], hashes: Mapping[str, int]) -> None:
        header = {
            "kind": "sample",
            "key": key.hex(),
            "fields": {name: [len(array), hashes[name]] for name, array in arrays.items()},
        }
        payload: list[Buffer] = [array.data.cast("B") for array in arrays.values() if array.size]
        with translated_errors(self._wal_dir):
            if self._journal is None:
                self._journal = Journal.create(
                    self._folder.tmp if self.options.wal_dir is None else self._wal_dir,
                    self._wal_dir,
                    self.feature_set.fingerprint,
                    locking=self.options.locking,
                    provenance=self._provenance,
                )
            self._journal.append(header, payload)
            self._pending += 1
            self._sync_if_due()
        self._own[key] = hashes[self.feature_set.modality]
        if self._journal.num_bytes >= self.options.shard_bytes or self._pending >= self.options.shard_samples:
            self._seal()

    def _sync_if_due(self) -> None:
        if self._journal is None or self.options.durability == "os":
            return
        now_s = time.monotonic()
        if self.options.durability == "each" or now_s - self._last_sync_s >= 1.0:
            self._journal.sync()
            self._last_sync_s = now_s

    def _seal(self) -> None:
        if self._journal is None:
            return
        journal, self._journal, self._pending = self._journal, None, 0
        try:
            seal_journal(self._folder, self.feature_set, journal.path)
        finally:
            # Held across a failed seal, the lock would keep the next writer from adopting the journal.
            journal.close()


def check_provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance as it will read back.

    Raises:
        StoreError: when it is not a JSON object, or larger than is kept with every shard.
    """
    document = canonical_json(provenance)
    if len(document) > MAX_PROVENANCE_BYTES:
        raise StoreError(
            f"the provenance has {len(document):,} bytes, more than {MAX_PROVENANCE_BYTES:,}",
            "Keep long listings in a file, and its name or hash in the provenance.",
        )
    plain: dict[str, Any] = json.loads(document)
    return plain
