"""Content addresses: what makes two samples the same sample (docs/format.md, "Sample keys")."""

from __future__ import annotations

import hashlib
import struct
from os import PathLike
from pathlib import Path

from msakit.feature_store.errors import StoreError
from msakit.feature_store.regular import open_regular, reading

KEY_BYTES = 16
DIGEST_BYTES = 32
FIRST_STREAM = 0
WHOLE = -1
"""Segment bound meaning "from the start" or "to the end" of the media."""


def digest_bytes(data: bytes) -> bytes:
    """Return the content digest (SHA-256) of `data`."""
    return hashlib.sha256(data).digest()


def digest_file(path: str | PathLike[str]) -> bytes:
    """Return the content digest (SHA-256) of a file.

    Raises:
        StoreError: when the file cannot be read or is not a regular one.
    """
    file = Path(path)
    with reading(file), open(open_regular(file), "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
        return hashlib.file_digest(stream, "sha256").digest()


def sample_key(content_digest: bytes, start_us: int = WHOLE, end_us: int = WHOLE) -> bytes:
    """Return the 16-byte key of one segment of one piece of content.

    Args:
        content_digest: 32-byte digest of the media bytes (`digest_file`, `digest_bytes`).
        start_us: segment start in microseconds, or `WHOLE`.
        end_us: segment end in microseconds, or `WHOLE`.

    Raises:
        StoreError: when the digest has the wrong size or the segment is reversed.
    """
    if len(content_digest) != DIGEST_BYTES:
        raise StoreError(
            f"content digest has {len(content_digest)} bytes, not {DIGEST_BYTES}",
            "Use digest_file() or digest_bytes().",
        )
    if end_us != WHOLE and end_us < start_us:
        raise StoreError(
            f"segment ends at {end_us} us, before its start at {start_us} us", "Swap the bounds."
        )
    message = b"msakit-key-1" + content_digest + struct.pack("<qqi", start_us, end_us, FIRST_STREAM)
    return hashlib.blake2b(message, digest_size=KEY_BYTES).digest()
