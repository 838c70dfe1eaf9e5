"""Turning journals into shards, in an order that loses nothing (docs/format.md, "Sealing").

journal synced -> shard written and synced under a temporary name -> re-read and verified -> linked to its
final name -> directory synced -> only then the journal is removed. Never swap the last three.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.files import (
    boot_id,
    fsync_directory,
    host_name,
    process_start,
    publish,
    temporary_name,
    translated_errors,
)
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.hdf5_write import FileBuilder
from msakit.feature_store.disk.journal import Locking, Record, Scan, lock, scan_journal
from msakit.feature_store.disk.layout import JOURNAL_NAME, FeatureSetFolder, list_folder
from msakit.feature_store.disk.shard import ShardIndex, ShardRows, read_shard_group, write_shard_group
from msakit.feature_store.errors import StoreCorruptError, StoreError, StoreFormatError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES


@dataclass
class Recovery:
    """What became of the journals found when a store was opened for writing."""

    sealed: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    num_samples: int = 0
    damaged_bytes: int = 0


def write_shard(
    folder: FeatureSetFolder, feature_set: FeatureSet, rows: ShardRows, identity: tuple[str, str]
) -> bool:
    """Write, verify and commit one shard; return False when the name was committed already.

    Raises:
        OSError: as the system says; nothing was committed then.
        StoreError: when what was written does not read back.
    """
    shard_id = identity[0]
    tmp = temporary_name(folder.tmp, ".h5")
    try:
        with FileBuilder() as builder:
            write_shard_group(builder, builder.root, feature_set, rows, identity)
            builder.write(tmp)
        verify_shard(tmp, feature_set)
        return publish(tmp, folder.shards / f"{shard_id}.h5")
    except BaseException:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)
        raise


def verify_shard(path: Path, feature_set: FeatureSet) -> ShardIndex:
    """Read a shard as a reader would and check every sample against its checksum.

    Raises:
        StoreFormatError: when its structure is wrong.
        StoreCorruptError: naming the first sample whose bytes are wrong.
    """
    with open_safely(path) as file:
        index = read_shard_group(file, file.root, feature_set)
        damaged = damaged_samples(file.fd, index)
    if damaged:
        raise StoreCorruptError(
            f"{path}: {len(damaged)} of {index.num_samples} samples do not match their checksum, "
            f"the first is {index.keys[damaged[0]].tobytes().hex()}",
            "Run `msakit store validate --repair`.",
        )
    return index


def damaged_samples(fd: int, index: ShardIndex) -> list[int]:
    """Rows of a shard of which some field's bytes do not match their checksum."""
    bad: set[int] = set()
    for item in index.fields.values():
        if item.extent.num_bytes == 0:
            empty = xxhash.xxh3_64_intdigest(b"")
            bad.update(np.flatnonzero(item.hashes != empty).tolist())
            continue
        view = memoryview(mmap.mmap(fd, item.extent.offset + item.extent.num_bytes, prot=mmap.PROT_READ))
        starts = (item.extent.offset + item.offsets * item.spec.row_bytes).tolist()
        for row, digest in enumerate(item.hashes.tolist()):
            if xxhash.xxh3_64_intdigest(view[starts[row] : starts[row + 1]]) != digest:
                bad.add(row)
    return sorted(bad)


def seal_journal(folder: FeatureSetFolder, feature_set: FeatureSet, path: Path) -> Scan:
    """Turn a journal, to which nobody appends any more, into a shard and remove it.

    Idempotent: after a crash between commit and removal the shard is recognised by its name.

    Raises:
        StoreError: when the journal is not one, or the system refuses; the journal is kept.
    """
    with translated_errors(path):
        folder.make_folders()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
            # Never closed by hand: views of it live until the rows are forgotten, also when sealing fails.
            data = mmap.mmap(fd, 0, prot=mmap.PROT_READ) if os.fstat(fd).st_size else b""
            scan = _seal_mapped(folder, feature_set, path, data)
        finally:
            os.close(fd)
        _remove_journal(folder, path, keep=scan.damaged_bytes > 0)
    return scan


def adopt_orphans(
    folder: FeatureSetFolder,
    feature_set: FeatureSet,
    *,
    wal_dir: Path | None = None,
    locking: Locking = "flock",
    foreign_older_than_s: float | None = None,
    now_s: float = 0.0,
) -> Recovery:
    """Seal the journals whose writer is dead; leave those of living and of foreign writers.

    Args:
        folder: the feature set's folder.
        feature_set: the feature set.
        wal_dir: where the journals are, when not inside the store.
        locking: "flock" trusts the lock, "none" looks at the owner's process.
        foreign_older_than_s: adopt journals of other hosts too when untouched for this long.
        now_s: the current time, for `foreign_older_than_s`.
    """
    recovery = Recovery()
    for path in list_folder(wal_dir or folder.wal):
        if not JOURNAL_NAME.fullmatch(path.name):
            continue
        try:
            with _claimed(path, locking) as claimed:
                if not claimed:
                    recovery.alive.append(path.name)
                elif _is_foreign(path, foreign_older_than_s, now_s):
                    recovery.foreign.append(path.name)
                else:
                    scan = seal_journal(folder, feature_set, path)
                    recovery.sealed.append(path.name)
                    recovery.num_samples += len(scan.records)
                    recovery.damaged_bytes += scan.damaged_bytes
        except FileNotFoundError:
            continue  # another writer adopted it between listing and opening
        except StoreFormatError:
            quarantine(folder, path)
            recovery.quarantined.append(path.name)
    return recovery


def quarantine(folder: FeatureSetFolder, path: Path) -> Path:
    """Put a damaged file aside; nothing is ever deleted because it is damaged."""
    with translated_errors(path):
        inside = folder.path in path.parents
        # Journals kept elsewhere may be on another file system, where a rename cannot reach from.
        target = (folder.quarantine if inside else path.parent / "quarantine") / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        fsync_directory(path.parent)
        return target


def peek_owner(path: Path) -> dict[str, Any]:
    """Read the owner header of a journal; empty when it has none."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    try:
        return scan_journal(head, path.stem).owner
    except (StoreError, ValueError):
        return {}


def owner_is_local(owner: Mapping[str, Any]) -> bool:
    """Tell whether a journal was written on this machine, so that its lock and pid mean something here."""
    return owner.get("host") == host_name() or bool(boot_id() and owner.get("boot_id") == boot_id())


def owner_lives(owner: Mapping[str, Any]) -> bool:
    """Tell whether the process that wrote a local journal still runs (used where locks do not work)."""
    if owner.get("boot_id") != boot_id():
        return False
    started = process_start(int(owner.get("pid", -1)))
    return bool(started) and started == owner.get("process_start")


def _seal_mapped(
    folder: FeatureSetFolder, feature_set: FeatureSet, path: Path, data: bytes | mmap.mmap
) -> Scan:
    scan = scan_journal(data, path.stem)
    if scan.owner.get("featureset") != feature_set.fingerprint:
        raise StoreFormatError(
            f"{path} belongs to feature set {scan.owner.get('featureset')}", "Move the file away."
        )
    rows = _collect(feature_set, scan.records, memoryview(data))
    if rows.keys:
        provenance = canonical_json(scan.owner.get("provenance", {})).decode()
        _commit(folder, feature_set, rows, (path.stem, provenance))
    return scan


def _commit(
    folder: FeatureSetFolder, feature_set: FeatureSet, rows: ShardRows, identity: tuple[str, str]
) -> None:
    shard_id, provenance = identity
    names = {name for old, _ in folder.tombstones() for name in old}
    if f"{shard_id}.h5" in names:
        return  # committed, and since merged into another shard
    final = folder.shards / f"{shard_id}.h5"
    if not final.exists() and write_shard(folder, feature_set, rows, identity):
        return
    with open_safely(final) as file:
        committed = {key.tobytes() for key in read_shard_group(file, file.root, feature_set).keys}
    fsync_directory(folder.shards)
    if not committed.issuperset(rows.keys):
        # Cannot happen by this protocol; were it to, a second shard costs duplicates and loses nothing.
        write_shard(folder, feature_set, rows, (uuid.uuid4().hex, provenance))


def _collect(feature_set: FeatureSet, records: list[Record], view: memoryview) -> ShardRows:
    rows = ShardRows.empty(feature_set)
    for record in records:
        parts, position = {}, record.payload_start
        try:
            key = bytes.fromhex(record.header["key"])
            for spec in feature_set.fields:
                length, digest = record.header["fields"][spec.name]
                stop = position + int(length) * spec.row_bytes
                parts[spec.name] = (int(length), int(digest), view[position:stop])
                position = stop
        except (KeyError, ValueError, TypeError) as error:
            raise StoreFormatError(
                "a journal record does not describe a sample", "Move the journal away."
            ) from error
        if len(key) != KEY_BYTES or position != record.payload_stop:
            raise StoreFormatError("a journal record does not fit its feature set", "Move the journal away.")
        rows.append(key, parts)
    return rows


def _remove_journal(folder: FeatureSetFolder, path: Path, *, keep: bool) -> None:
    if keep:
        quarantine(folder, path)
    else:
        path.unlink(missing_ok=True)
        fsync_directory(path.parent)


@contextlib.contextmanager
def _claimed(path: Path, locking: Locking) -> Iterator[bool]:
    """Yield whether the journal's writer is dead and the journal ours until the block ends."""
    if locking == "none":
        owner = peek_owner(path)
        yield not (owner_is_local(owner) and owner_lives(owner))
        return
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            lock(fd, path)
        except BlockingIOError:
            yield False
            return
        # The lock of a file already adopted and removed by another is worth nothing.
        if os.fstat(fd).st_nlink == 0:
            raise FileNotFoundError(path)
        yield True
    finally:
        os.close(fd)


def _is_foreign(path: Path, older_than_s: float | None, now_s: float) -> bool:
    owner = peek_owner(path)
    if not owner or owner_is_local(owner):
        return False
    return older_than_s is None or now_s - path.stat().st_mtime < older_than_s
