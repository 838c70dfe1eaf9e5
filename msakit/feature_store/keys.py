"""Content addresses: what makes two samples the same sample (docs/format.md, "Sample keys")."""

from __future__ import annotations

import hashlib
import struct
from os import PathLike
from pathlib import Path

from msakit.feature_store.errors import StoreError

KEY_BYTES = 16
DIGEST_BYTES = 32
WHOLE = -1
"""Segment bound meaning "from the start" or "to the end" of the media."""


def digest_bytes(data: bytes) -> bytes:
    """Return the content digest (SHA-256) of `data`."""
    return hashlib.sha256(data).digest()


def digest_file(path: str | PathLike[str]) -> bytes:
    """Return the content digest (SHA-256) of a file.

    Raises:
        StoreError: when the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror}", "Check the path and its permissions."
        ) from error


def sample_key(
    content_digest: bytes, start_us: int = WHOLE, end_us: int = WHOLE, stream: int = 0, aux: bytes = b""
) -> bytes:
    """Return the 16-byte key of one segment of one piece of content.

    Args:
        content_digest: 32-byte digest of the media bytes (`digest_file`, `digest_bytes`).
        start_us: segment start in microseconds, or `WHOLE`.
        end_us: segment end in microseconds, or `WHOLE`.
        stream: index of the stream inside the media file.
        aux: 32-byte digest of whatever else the extractor reads (a transcript, a face track), or empty.

    Raises:
        StoreError: when a digest has the wrong size or the segment is reversed.
    """
    if len(content_digest) != DIGEST_BYTES:
        raise StoreError(
            f"content digest has {len(content_digest)} bytes, not {DIGEST_BYTES}",
            "Use digest_file() or digest_bytes().",
        )
    if aux and len(aux) != DIGEST_BYTES:
        raise StoreError(f"aux digest has {len(aux)} bytes, not {DIGEST_BYTES}", "Use digest_bytes(aux).")
    if end_us not in (WHOLE,) and end_us < start_us:
        raise StoreError(
            f"segment ends at {end_us} us, before its start at {start_us} us", "Swap the bounds."
        )
    message = b"msakit-key-1" + content_digest + struct.pack("<qqi", start_us, end_us, stream) + aux
    return hashlib.blake2b(message, digest_size=KEY_BYTES).digest()
