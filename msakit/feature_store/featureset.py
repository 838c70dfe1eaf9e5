"""A feature set: everything that determines its numbers, and a hash of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msakit.feature_store.canonical import canonical_json
from msakit.feature_store.dtypes import storage_dtype
from msakit.feature_store.errors import StoreError, StoreFormatError

SCHEMA = 1
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
RESERVED_FIELDS = frozenset({"meta", "intervals"})


@dataclass(frozen=True)
class FieldSpec:
    """One ragged array per sample: [T, width] of one storage type."""

    name: str
    width: int
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one row (one frame)."""
        return self.width * storage_dtype(self.dtype).itemsize


@dataclass(frozen=True)
class FeatureSet:
    """The output of one extractor in one configuration.

    Two feature sets are the same exactly when their canonical JSON is; `fingerprint` is its hash and names
    the folder. Batch size, device, worker count and paths do not belong here; what shapes the numbers does.

    Attributes:
        modality: "audio", "vision", "text" or any other name; also the name of the values' field.
        extractor: versioned name, such as "prosody@1".
        width: features per frame (D).
        dtype: storage type: float16, bfloat16, float32, float64, int32, int64 or uint8.
        frame_shift_s: seconds between frames, or None when frames are not equally spaced (word-aligned).
        parameters: every setting of the extractor, defaults written out.
        weights: SHA-256 (hex) of each weight file, in a fixed order.
        code: hash of the extractor's source, when its version alone is not trusted.
        decoder: name and version of what decodes the media, when it shapes the numbers.
        intervals: whether each frame also stores its start and end in seconds (float64 [T, 2]).
    """

    modality: str
    extractor: str
    width: int
    dtype: str = "float32"
    frame_shift_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    code: str = ""
    decoder: Mapping[str, Any] = field(default_factory=dict)
    intervals: bool = False

    def __post_init__(self) -> None:
        """Check every field and compute the canonical document."""
        object.__setattr__(self, "weights", tuple(self.weights))
        if not NAME.fullmatch(self.modality) or self.modality in RESERVED_FIELDS:
            raise StoreError(f"modality {self.modality!r} is not a usable name", "Use letters, digits, _ . -")
        if not self.extractor:
            raise StoreError(
                "a feature set needs the name of its extractor", 'Pass extractor="name@version".'
            )
        if isinstance(self.width, bool) or not isinstance(self.width, int) or not 1 <= self.width <= 1 << 24:
            raise StoreError(f"feature width {self.width!r} is not a positive integer", "Pass D, at least 1.")
        if self.frame_shift_s is not None:
            object.__setattr__(self, "frame_shift_s", float(self.frame_shift_s))
        storage_dtype(self.dtype)
        document = canonical_json(self._document())
        object.__setattr__(self, "_canonical", document)
        # As they will read back, so that equality does not depend on tuple against list.
        plain = json.loads(document)
        object.__setattr__(self, "parameters", plain["parameters"])
        object.__setattr__(self, "decoder", plain["decoder"])

    def __hash__(self) -> int:
        """Hash by identity of content."""
        return hash(self.canonical)

    @property
    def canonical(self) -> bytes:
        """The canonical JSON document; `FEATURESET.json` holds exactly these bytes."""
        document: bytes = object.__getattribute__(self, "_canonical")
        return document

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits naming this feature set."""
        return fingerprint_of(self.canonical)

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The arrays of one sample, values first, metadata last."""
        specs = [FieldSpec(self.modality, self.width, self.dtype)]
        if self.intervals:
            specs.append(FieldSpec("intervals", 2, "float64"))
        return (*specs, FieldSpec("meta", 1, "uint8"))

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "modality": self.modality,
            "extractor": self.extractor,
            "width": self.width,
            "dtype": self.dtype,
            "frame_shift_s": self.frame_shift_s,
            "parameters": self.parameters,
            "weights": self.weights,
            "code": self.code,
            "decoder": self.decoder,
            "intervals": self.intervals,
        }


def fingerprint_of(document: bytes) -> str:
    """Return the fingerprint of a canonical feature-set document."""
    return hashlib.blake2b(document, digest_size=16).hexdigest()


def parse_feature_set(document: bytes, fingerprint: str, where: str) -> FeatureSet:
    """Rebuild a feature set from its document and check that it is the one named `fingerprint`.

    Raises:
        StoreFormatError: when the document is not a feature set, is of an unknown schema or does not hash
            to its name (a hand-edited file must not serve wrong features).
    """
    if fingerprint_of(document) != fingerprint:
        raise StoreFormatError(
            f"{where}: its content does not hash to its name {fingerprint}",
            "The file was edited or damaged; restore it, or move the feature set away and extract again.",
        )
    try:
        data = json.loads(document)
        schema = data.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreFormatError(f"{where}: not a feature-set document", "Restore the file.") from error
    if schema != SCHEMA:
        raise StoreFormatError(
            f"{where}: feature-set schema {schema!r} is unknown, this version reads {SCHEMA}",
            "Install a newer msakit: pip install --upgrade msakit",
        )
    try:
        return FeatureSet(**data)
    except TypeError as error:
        raise StoreFormatError(f"{where}: {error}", "Restore the file.") from error
