"""Turning journals into shards, in an order that loses nothing (docs/format.md, "Sealing").

journal synced -> shard written and synced under a temporary name -> re-read and verified -> linked to its
final name -> directory synced -> only then the journal is removed. Never swap the last three.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.disk.files import (
    Buffer,
    data_extents,
    fsync_directory,
    publish,
    temporary_name,
    translated_errors,
)
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.hdf5_write import FileBuilder
from msakit.feature_store.disk.journal import Record, Scan, scan_journal
from msakit.feature_store.disk.layout import FeatureSetFolder
from msakit.feature_store.disk.shard import ShardIndex, ShardRows, read_shard_group, write_shard_group
from msakit.feature_store.errors import StoreCorruptError, StoreError, StoreFormatError, StoreWriteError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES
from msakit.feature_store.regular import open_regular


@dataclass
class JudgedJournal:
    """A journal found whole: what its scan found and its samples, as views of the mapped file."""

    scan: Scan
    rows: ShardRows
    provenance: str


def write_shard(
    folder: FeatureSetFolder, feature_set: FeatureSet, rows: ShardRows, identity: tuple[str, str]
) -> bool:
    """Write, verify and commit one shard; return False when the name was committed already.

    Raises:
        OSError: as the system says; nothing was committed then.
        StoreWriteError: when what was written does not read back.
        StoreReadError: when the machine could not read it back.
    """
    shard_id = identity[0]
    tmp = temporary_name(folder.tmp, ".h5")
    try:
        with FileBuilder() as builder:
            write_shard_group(builder, builder.root, feature_set, rows, identity)
            builder.write(tmp)
        _read_back(tmp, feature_set)
        return publish(tmp, folder.shards / f"{shard_id}.h5")
    except BaseException:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)
        raise


def _read_back(path: Path, feature_set: FeatureSet) -> None:
    """Read a shard just written as a reader would and check every sample against its checksum."""
    try:
        with open_safely(path) as file:
            damaged = damaged_samples(file.fd, read_shard_group(file, file.root, feature_set))
    except (StoreFormatError, StoreCorruptError) as error:
        raise _unlike_written(path) from error
    if damaged:
        raise _unlike_written(path)


def _unlike_written(path: Path) -> StoreWriteError:
    return StoreWriteError(
        f"{path} does not read back as it was written", "Check disk and memory; nothing acknowledged is lost."
    )


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


def seal_journal(folder: FeatureSetFolder, feature_set: FeatureSet, path: Path) -> None:
    """Turn a journal, to which nobody appends any more, into a shard and remove it.

    Idempotent: after a crash between commit and removal the shard is recognised by its name.

    Raises:
        StoreError: when the journal is not one, or the system refuses; the journal is kept.
    """
    with translated_errors(path):
        commit_journal(folder, feature_set, path, judge_journal(feature_set, path))


def judge_journal(feature_set: FeatureSet, path: Path) -> JudgedJournal:
    """Read every record of a journal, by nothing but its own bytes.

    Raises:
        OSError: as the system says.
        StoreFormatError: when the bytes are not a journal of this feature set.
        StoreVersionError: when they are one of a version this release does not read.
    """
    fd = open_regular(path)
    try:
        os.fdatasync(fd)
        extents = data_extents(fd)
        # Never closed by hand: views of it live until the rows are forgotten, also when sealing fails.
        data = mmap.mmap(fd, 0, prot=mmap.PROT_READ) if os.fstat(fd).st_size else b""
    finally:
        os.close(fd)
    scan = scan_journal(data, path.stem, extents)
    if scan.owner.get("featureset") != feature_set.fingerprint:
        raise StoreFormatError(
            f"{path} belongs to feature set {scan.owner.get('featureset')}", "Move the file away."
        )
    rows = _collect(feature_set, scan.records, memoryview(data))
    try:
        provenance = canonical_json(scan.owner.get("provenance", {})).decode()
    except StoreError as error:
        raise StoreFormatError(f"{path}: its provenance: {error.message}", "Move the file away.") from error
    return JudgedJournal(scan, rows, provenance)


def commit_journal(
    folder: FeatureSetFolder, feature_set: FeatureSet, path: Path, journal: JudgedJournal
) -> Path | None:
    """Write the shard of a judged journal, then remove the journal.

    Returns:
        Where the journal was put aside, when some of its bytes are damaged.

    Raises:
        OSError: as the system says; the journal is kept.
        StoreError: when the shard cannot be written; the journal is kept.
    """
    if journal.rows.keys:
        _commit(folder, feature_set, journal.rows, (path.stem, journal.provenance))
    if journal.scan.damaged_bytes:
        return quarantine(folder, path)
    path.unlink(missing_ok=True)
    fsync_directory(path.parent)
    return None


def quarantine(folder: FeatureSetFolder, path: Path) -> Path:
    """Put a damaged file aside; nothing is ever deleted because it is damaged.

    Returns:
        Where it is now.

    Raises:
        StoreWriteError: when the system refuses.
    """
    with translated_errors(path):
        inside = folder.path in path.parents
        # Journals kept elsewhere may be on another file system, where a rename cannot reach from.
        target = (folder.quarantine if inside else path.parent / "quarantine") / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        fsync_directory(path.parent)
        return target


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
        try:
            key, parts = bytes.fromhex(record.header["key"]), _parts(feature_set, record, view)
        except (KeyError, ValueError, TypeError) as error:
            raise StoreFormatError(
                "a journal record does not describe a sample of its feature set", "Move the journal away."
            ) from error
        if len(key) != KEY_BYTES:
            raise StoreFormatError(f"a journal record's key has {len(key)} bytes", "Move the journal away.")
        rows.append(key, parts)
    return rows


def _parts(feature_set: FeatureSet, record: Record, view: memoryview) -> dict[str, tuple[int, int, Buffer]]:
    """Cut a record's payload into the fields its header names: frames, hash and bytes of each."""
    parts: dict[str, tuple[int, int, Buffer]] = {}
    position = record.payload_start
    for spec in feature_set.fields:
        length, digest = map(int, record.header["fields"][spec.name])
        stop = position + length * spec.row_bytes
        part = view[position:stop]
        if not position <= stop <= record.payload_stop or xxhash.xxh3_64_intdigest(part) != digest:
            raise ValueError(f"{spec.name} is not what the header says")
        parts[spec.name] = (length, digest, part)
        position = stop
    if position != record.payload_stop:
        raise ValueError("the payload is longer than its fields")
    return parts
