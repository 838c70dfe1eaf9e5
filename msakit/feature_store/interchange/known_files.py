"""Published files of the field, recognised by their SHA-256."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import SourceFile, read_source

MAX_BYTES = 1 << 24


def load_known_files(extra: Path | None = None) -> dict[str, str]:
    """SHA-256 -> name of the published files, with those of a user's own list on top.

    Args:
        extra: JSON list of objects with at least `name` and `sha256`.

    Raises:
        StoreError: the list is unreadable or an entry lacks a key.
    """
    shipped = (
        files("msakit.feature_store.interchange").joinpath("known_files.json").read_text(encoding="utf-8")
    )
    known = _parse(shipped, "known_files.json")
    if extra is not None:
        try:
            known |= _parse(read_source(extra, MAX_BYTES).decode("utf-8"), str(extra))
        except UnicodeDecodeError as error:
            raise StoreError(
                f"cannot read {extra}: {error}", "Give a JSON list of {name, sha256}."
            ) from error
    return known


def describe_source(path: Path, known: dict[str, str]) -> SourceFile:
    """Digest a file and name it when it is a published one.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror}", "Check the path and its permissions."
        ) from error
    return SourceFile(path, digest, known.get(digest, ""))


def _parse(text: str, where: str) -> dict[str, str]:
    try:
        return {str(entry["sha256"]).lower(): str(entry["name"]) for entry in json.loads(text)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{where}: not a list of known files ({error})", "Give a JSON list of {name, sha256}."
        ) from error
