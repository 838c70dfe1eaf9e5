"""The trailer: a checksum of a file's HDF5 structure, verified before HDF5 parses it.

Flipped bits in HDF5's own headers can go unnoticed or loop its parser for ever. The trailer stands behind the
end of the HDF5 data, where HDF5 does not look: spans, then `count | bytes of spans | xxh3-128 | magic`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import xxhash

from msakit.feature_store.disk.files import read_exactly
from msakit.feature_store.disk.image import StructureImage
from msakit.feature_store.errors import StoreCorruptError, StoreError, StoreFormatError

MAGIC = b"MSKT"
SPAN = struct.Struct("<QQ")
FOOTER = struct.Struct("<Q16s4s")
MAX_SPANS = 1 << 20
MAX_STRUCTURE_BYTES = 256 << 20
"""A table of 6,373 columns has about 20 MB."""


def pack_trailer(pieces: list[tuple[int, bytes]]) -> bytes:
    """Return the trailer of a file whose structure is `pieces`, disjoint (offset, bytes) in ascending order.

    Raises:
        StoreError: when a reader would refuse so much structure.
    """
    total = sum(len(data) for _, data in pieces)
    if len(pieces) > MAX_SPANS or total > MAX_STRUCTURE_BYTES:
        raise StoreError(
            f"the file would have {total:,} bytes of structure, more than {MAX_STRUCTURE_BYTES:,}",
            "Write fewer columns, or fewer datasets into one file.",
        )
    spans = b"".join(SPAN.pack(offset, len(data)) for offset, data in pieces)
    state = xxhash.xxh3_128(spans)
    for _, data in pieces:
        state.update(data)
    return spans + FOOTER.pack(len(pieces), state.digest(), MAGIC)


def read_structure(fd: int, path: Path) -> StructureImage:
    """Read the structure of an open file, verified against its trailer; nothing else of the file is read.

    Raises:
        OSError: as the system says.
        StoreFormatError: when there is no trailer: truncated, foreign or edited by another program.
        StoreCorruptError: when the structure's bytes are not those that were written.
    """
    num_bytes = os.fstat(fd).st_size
    if num_bytes < FOOTER.size:
        raise _without_trailer(path)
    count, digest, magic = FOOTER.unpack(read_exactly(fd, FOOTER.size, num_bytes - FOOTER.size))
    start = num_bytes - FOOTER.size - count * SPAN.size
    if magic != MAGIC or count > MAX_SPANS or start < 0:
        raise _without_trailer(path)
    spans = read_exactly(fd, count * SPAN.size, start)
    state, image = xxhash.xxh3_128(spans), StructureImage()
    total = last = 0
    for offset, length in SPAN.iter_unpack(spans):
        total += length
        if offset < last or offset + length > start or total > MAX_STRUCTURE_BYTES:
            raise _damaged(path)
        last = offset + length
        piece = read_exactly(fd, length, offset)
        state.update(piece)
        image.seek(offset)
        image.write(piece)
    if state.digest() != digest:
        raise _damaged(path)
    image.truncate(start)
    return image


def _without_trailer(path: Path) -> StoreFormatError:
    return StoreFormatError(
        f"{path}: not a whole file of a feature store",
        "It was truncated, changed by another program, or is of another kind; "
        "import foreign files with `msakit store import`.",
    )


def _damaged(path: Path) -> StoreCorruptError:
    return StoreCorruptError(
        f"{path}: the file's structure does not match its checksum",
        "Run `msakit store validate --repair`, or restore the file from a copy.",
    )
