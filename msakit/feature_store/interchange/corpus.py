"""The one form every importer produces: light rows of scalars, and sequences read only when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.padding import PaddingTally
from msakit.feature_store.table import SPLITS, Utterance

Array = npt.NDArray[Any]
Intervals = npt.NDArray[np.float64]
SPLIT_ALIASES = {
    **{split: split for split in SPLITS},
    "val": "valid",
    "dev": "valid",
    "validation": "valid",
    "training": "train",
    "testing": "test",
    "eval": "test",
}
VIDEO_SEPARATOR = "$_$"


@dataclass(frozen=True)
class SourceFile:
    """A file that was imported; `known` names it when its SHA-256 is a published one."""

    path: Path
    sha256: str
    known: str = ""


@dataclass
class ImportedModality:
    """The sequences of one modality.

    Attributes:
        name: "audio", "vision", "text", ... as it will be called in the store.
        load: row number to real frames [T, D], padding removed, or None where the modality is absent.
        source: the key, file or folder it came from, for provenance.
        source_dtype: dtype as found, so that an export can restore it.
        padding: how each split was padded.
        frame_shift_s: seconds a frame, when the file says so.
        interval_of: row number to start and end seconds of each frame [T, 2], where the file has them.
    """

    name: str
    load: Callable[[int], Array | None]
    source: str
    source_dtype: str
    padding: dict[str, PaddingTally] = field(default_factory=dict)
    frame_shift_s: float | None = None
    interval_of: Callable[[int], Intervals] | None = None


@dataclass
class ImportedCorpus:
    """A parsed corpus. Sequences may be views of scratch files that live as long as the import."""

    format: str
    rows: list[Utterance]
    modalities: dict[str, ImportedModality]
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def rows_of(self, split: str) -> Iterator[int]:
        """Row numbers of one split, in order."""
        return (number for number, row in enumerate(self.rows) if row.split == split)


def read_source(path: Path, limit: int) -> bytes:
    """Bytes of a file somebody gave; pipes and devices, which may never end, are refused.

    Raises:
        StoreError: it is no regular file, cannot be read, or is larger than `limit` bytes.
    """
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: not a regular file", "Copy its content into a file first.")
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror}", "Check the path and its permissions."
        ) from error
    if len(content) > limit:
        raise StoreError(f"{path}: larger than {limit:,} bytes", "Split the file.")
    return content


def read_split_name(name: object, where: str) -> str:
    """Canonical split name ("dev" is "valid").

    Raises:
        StoreError: the name is no split; `where` names the file and key.
    """
    split = SPLIT_ALIASES.get(str(name).strip().lower())
    if split is None:
        known = ", ".join(sorted(SPLIT_ALIASES))
        raise StoreError(f"{where}: {name!r} is not a split name", f"Use one of: {known}.")
    return split


def read_text(value: object) -> str:
    """Text as one string; Python 2 bytes that are not UTF-8 are read as Windows-1252."""
    if isinstance(value, list | tuple):
        return " ".join(read_text(part) for part in value)
    if isinstance(value, bytes):
        raw = value
    else:
        text = "" if value is None else str(value)
        if not any("\udc80" <= char <= "\udcff" for char in text):
            return text.encode("utf-8", "replace").decode("utf-8")
        raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def read_number(value: object, where: str) -> float:
    """A label or time as a float; arrays of one element (MultiBench stores [1, 1]) are unwrapped.

    Raises:
        StoreError: the value is not one real number.
    """
    try:
        flat = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"{where}: {value!r} is not a number", "Correct the value or leave it out."
        ) from error
    if flat.size != 1:
        raise StoreError(
            f"{where}: expected one number, found {flat.size}", "Choose one column of the label."
        )
    return float(flat[0])


def read_whole_number(value: object, where: str) -> int:
    """A position such as an utterance's, -1 when it is missing.

    Raises:
        StoreError: the value is not a whole number of 32 bits.
    """
    number = read_number(value, where)
    if math.isnan(number):
        return -1
    if not number.is_integer() or abs(number) >= 1 << 31:
        raise StoreError(f"{where}: {value!r} is not a whole number", "Correct the value or leave it out.")
    return int(number)


def read_id(value: object) -> str:
    """Sample id as one string; [video, clip] lists become "video$_$clip"."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return VIDEO_SEPARATOR.join(read_id(part) for part in value)
    return read_text(value)
