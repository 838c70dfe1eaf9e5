"""Journals: the append-only file of one living writer (docs/format.md, "Journal").

A record is `prefix | header JSON | payload`; the prefix holds a magic, both sizes and an xxh3 over all of it,
seeded by the journal's own id, so that a record embedded in another's payload never counts.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import xxhash

from msakit.feature_store.disk.files import Buffer, Extent, fsync_directory, temporary_name
from msakit.feature_store.disk.owner import owner_fields
from msakit.feature_store.errors import StoreError, StoreFormatError, StoreVersionError, StoreWriteError

JOURNAL_VERSION = "1.0"
MAGIC = b"MSJ1"
PREFIX = struct.Struct("<4sIQQ")
MAX_HEADER_BYTES = 4 << 20
MAX_PAYLOAD_BYTES = 1 << 31
RESUME_EFFORT = 16
"""After damage, hash at most this many times the journal's bytes in search of the next record."""

Locking = Literal["flock", "none"]


@dataclass(frozen=True)
class Record:
    """One valid record: its header and where its payload lies."""

    header: dict[str, Any]
    payload_start: int
    payload_stop: int


@dataclass
class Scan:
    """The result of reading a journal."""

    owner: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    torn_bytes: int = 0
    damaged_bytes: int = 0
    """Bytes lost in the middle, between valid records: bit rot, never a mere crash."""


class Journal:
    """A journal being written. Not shared between processes or threads."""

    def __init__(self, path: Path, fd: int, journal_id: str) -> None:
        self.path = path
        self.journal_id = journal_id
        self.num_bytes = 0
        self._fd = fd
        self._seed = seed_of(journal_id)
        self._poisoned = ""

    @classmethod
    def create(
        cls,
        tmp_dir: Path,
        wal_dir: Path,
        fingerprint: str,
        *,
        locking: Locking,
        provenance: Mapping[str, Any],
    ) -> Journal:
        """Create a journal, locked before it has a name that others look for."""
        journal_id = uuid.uuid4().hex
        tmp = temporary_name(tmp_dir, ".wal")
        fd = os.open(tmp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            if locking == "flock":
                lock(fd, tmp)
            journal = cls(wal_dir / f"{journal_id}.wal", fd, journal_id)
            journal.append(owner_header(journal_id, fingerprint, provenance), [])
            journal.sync()
            tmp.rename(journal.path)
            fsync_directory(wal_dir)
        except BaseException:
            os.close(fd)
            tmp.unlink(missing_ok=True)
            raise
        return journal

    def append(self, header: Mapping[str, Any], payload: list[Buffer]) -> None:
        """Append one record with a single write; on return it survives the death of the process.

        Raises:
            OSError: when the system refuses; the journal is then as it was before the call.
            StoreWriteError: when an earlier failure could not be undone.
        """
        if self._poisoned:
            raise StoreWriteError(
                f"{self.path} refuses further records: {self._poisoned}",
                "Open a new writer; everything acknowledged before is kept.",
            )
        buffers = pack_record(header, payload, self._seed)
        total = sum(map(len, buffers))
        written = 0
        try:
            written = os.writev(self._fd, buffers)
            if written != total:
                raise OSError(errno.ENOSPC, f"short write, {written} of {total} bytes")
        except BaseException:
            self._restore()
            raise
        self.num_bytes += total

    def sync(self) -> None:
        """Make everything appended survive a power cut.

        Raises:
            OSError: when the system refuses. Dirty pages may be gone then, so the journal takes no more.
        """
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._poisoned = f"fdatasync failed ({error.strerror})"
            raise

    def close(self) -> None:
        """Release the file and its lock; the journal stays for sealing or adoption."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _restore(self) -> None:
        # A torn record in front of later ones would hide them: cut it off or write no more.
        try:
            os.ftruncate(self._fd, self.num_bytes)
        except OSError as error:
            self._poisoned = f"a partial record could not be removed ({error.strerror})"


def lock(fd: int, path: Path) -> None:
    """Take the exclusive lock of a journal.

    Raises:
        BlockingIOError: when a living writer holds it.
        StoreError: when the file system has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path.parent}: this file system does not support flock ({error.strerror})",
            'Keep the journal on a local disk (wal_dir=...), or pass locking="none".',
        ) from error


def seed_of(journal_id: str) -> int:
    """Return the checksum seed of a journal: the first 8 bytes of its id."""
    return int(journal_id[:16], 16)


def owner_header(journal_id: str, fingerprint: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header of the first record: what the journal is and whose."""
    return {
        "kind": "journal",
        "version": JOURNAL_VERSION,
        "id": journal_id,
        "featureset": fingerprint,
        **owner_fields(),
        "provenance": dict(provenance),
    }


def read_owner(fd: int, journal_id: str) -> dict[str, Any]:
    """Read the header of an open journal's first record; empty when it has none.

    Raises:
        OSError: as the system says.
    """
    head = os.pread(fd, PREFIX.size, 0)
    if len(head) < PREFIX.size:
        return {}
    _, num_header, num_payload, _ = PREFIX.unpack(head)
    if num_header > MAX_HEADER_BYTES or num_payload:
        return {}
    record = read_record(memoryview(os.pread(fd, PREFIX.size + num_header, 0)), 0, seed_of(journal_id))
    return record.header if record else {}


def pack_record(header: Mapping[str, Any], payload: list[Buffer], seed: int) -> list[Buffer]:
    """Return the buffers of one record, in order.

    Raises:
        StoreError: when header or payload is larger than the format admits.
    """
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    num_payload = sum(map(len, payload))
    if len(head) > MAX_HEADER_BYTES or num_payload > MAX_PAYLOAD_BYTES:
        raise StoreError(
            f"a sample of {num_payload} bytes with {len(head)} bytes of header exceeds the format's limit",
            "Cut the clip into segments.",
        )
    state = xxhash.xxh3_64(PREFIX.pack(MAGIC, len(head), num_payload, 0), seed=seed)
    state.update(head)
    for buffer in payload:
        state.update(buffer)
    prefix = PREFIX.pack(MAGIC, len(head), num_payload, state.intdigest())
    return [prefix, head, *(buffer for buffer in payload if len(buffer))]


def scan_journal(data: Buffer | mmap.mmap, journal_id: str, extents: Sequence[Extent] | None = None) -> Scan:
    """Read every valid record of a journal.

    A torn last record (a crash) is dropped. After damage in the middle, reading resumes at the next record
    whose checksum holds; a record begins in one of `extents` (all of `data` if not given).

    Raises:
        StoreFormatError: when the first record is not this journal's.
        StoreVersionError: when it is of a version this release does not read.
    """
    seed = seed_of(journal_id)
    view = memoryview(data)
    first = read_record(view, 0, seed)
    if first is None or first.header.get("kind") != "journal" or first.header.get("id") != journal_id:
        raise StoreFormatError(
            f"journal {journal_id} does not begin with its own header", "Move the file away."
        )
    check_journal_version(first.header)
    scan = Scan(first.header)
    extents = [(0, len(view))] if extents is None else extents
    position, budget = first.payload_stop, RESUME_EFFORT * sum(stop - start for start, stop in extents)
    while position < len(view):
        record = read_record(view, position, seed)
        if record is not None:
            scan.records.append(record)
            position = record.payload_stop
            continue
        resumed, budget = _next_valid(view, iterate_magic(data, position + 1, extents), seed, budget)
        if resumed is None:
            scan.torn_bytes = len(view) - position
            # Given up rather than read to the end: keep the journal, something may be left in it.
            scan.damaged_bytes += scan.torn_bytes if budget < 0 else 0
            break
        scan.damaged_bytes += resumed - position
        position = resumed
    return scan


def read_record(view: memoryview, position: int, seed: int) -> Record | None:
    """Return the record at `position`, or None when there is no whole, valid one."""
    start = position + PREFIX.size
    if start > len(view):
        return None
    magic, num_header, num_payload, digest = PREFIX.unpack_from(view, position)
    stop = start + num_header + num_payload
    if magic != MAGIC or num_header > MAX_HEADER_BYTES or num_payload > MAX_PAYLOAD_BYTES or stop > len(view):
        return None
    state = xxhash.xxh3_64(PREFIX.pack(MAGIC, num_header, num_payload, 0), seed=seed)
    state.update(view[start:stop])
    if state.intdigest() != digest:
        return None
    try:
        header = json.loads(bytes(view[start : start + num_header]))
    except (ValueError, RecursionError):
        return None
    return Record(header, start + num_header, stop) if isinstance(header, dict) else None


def check_journal_version(header: Mapping[str, Any]) -> None:
    """Refuse a journal of another major version.

    Raises:
        StoreVersionError: naming what to install.
    """
    version = str(header.get("version"))
    if version.split(".")[0] != JOURNAL_VERSION.split(".")[0]:
        raise StoreVersionError(
            f"journal version {version!r} is unknown, this msakit reads {JOURNAL_VERSION}",
            "Seal it with the msakit that wrote it, or install a newer one: pip install --upgrade msakit",
        )


def iterate_magic(data: Buffer | mmap.mmap, position: int, extents: Sequence[Extent]) -> Iterator[int]:
    """Yield the positions at or after `position`, inside `extents`, where a record could begin."""
    source = data if isinstance(data, bytes | mmap.mmap) else bytes(data)
    for start, stop in extents:
        found = source.find(MAGIC, max(start, position), stop)
        while found >= 0:
            yield found
            found = source.find(MAGIC, found + 1, stop)


def _next_valid(
    view: memoryview, candidates: Iterator[int], seed: int, budget: int
) -> tuple[int | None, int]:
    """Find the next valid record; the budget of bytes to hash keeps a forged journal from taking for ever."""
    for candidate in candidates:
        if len(view) - candidate < PREFIX.size:
            break
        _, num_header, num_payload, _ = PREFIX.unpack_from(view, candidate)
        if num_header + num_payload > len(view) - candidate:
            continue
        budget -= num_header + num_payload
        if budget < 0:
            break
        if read_record(view, candidate, seed) is not None:
            return candidate, budget
    return None, budget
