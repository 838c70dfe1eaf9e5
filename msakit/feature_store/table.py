"""Sample tables: who the samples of a dataset are, what they are labelled, and which features are theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from msakit.feature_store.errors import StoreError
from msakit.feature_store.keys import KEY_BYTES

Int64 = npt.NDArray[np.int64]
Column = tuple[str, ...] | npt.NDArray[np.float64] | Int64

SPLITS = ("train", "valid", "test")
TEXT_COLUMNS = ("id", "split", "text", "label_name", "speaker", "dialogue", "language", "content")
FLOAT_COLUMNS = ("label", "start_s", "end_s")
NO_UTTERANCE = -1


@dataclass
class Utterance:
    """What is known of an utterance besides its features: a line of a manifest, or of an imported corpus.

    Attributes:
        id: unique within the table.
        split: "train", "valid" or "test".
        text: what is said.
        label: numeric label; NaN when there is none.
        label_name: class name; "" when there is none.
        speaker: who says it; "" when unknown.
        dialogue: id of the dialogue; "" when the sample stands alone.
        utterance: position within the dialogue, -1 when it stands alone.
        language: language tag such as "en"; "" when unknown.
        start_s: segment start in the media, NaN for the whole of it.
        end_s: segment end in the media, NaN for the whole of it.
        extra: further scalar columns, string or number.
    """

    id: str
    split: str
    text: str = ""
    label: float = float("nan")
    label_name: str = ""
    speaker: str = ""
    dialogue: str = ""
    utterance: int = NO_UTTERANCE
    language: str = ""
    start_s: float = float("nan")
    end_s: float = float("nan")
    extra: dict[str, str | float] = field(default_factory=dict)


@dataclass
class Sample(Utterance):
    """An utterance with its features, as given to `SampleTable.from_samples`.

    Attributes:
        content: hex digest of the media; "" when unknown.
        features: modality -> sample key (16 bytes); a modality left out is absent.
        extra: as an utterance's; the same names in every sample.
    """

    content: str = ""
    features: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, utterance: Utterance, **more: Any) -> Self:
        """An utterance with its features; `more` gives them, and any field that shall differ."""
        known = {item.name: getattr(utterance, item.name) for item in fields(Utterance)}
        return cls(**{**known, **more})


@dataclass(frozen=True)
class FeatureColumn:
    """The features of one modality: keys [N, 16] into one feature set, and which samples have them [N]."""

    fingerprint: str
    keys: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SampleTable:
    """A dataset of N samples, column by column; immutable once written.

    `extra` holds free-form columns (strings, float64 or int64), `features` one column a modality, of which
    there may be any number, and `attributes` a JSON object about the whole (source, importer, settings).
    """

    id: tuple[str, ...]
    split: tuple[str, ...]
    text: tuple[str, ...]
    label: npt.NDArray[np.float64]
    label_name: tuple[str, ...]
    speaker: tuple[str, ...]
    dialogue: tuple[str, ...]
    utterance: Int64
    language: tuple[str, ...]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    content: tuple[str, ...]
    extra: Mapping[str, Column] = field(default_factory=dict)
    features: Mapping[str, FeatureColumn] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0

    def __post_init__(self) -> None:
        """Check that all columns have the same length and ids are unique."""
        for name, column in self.columns().items():
            if len(column) != len(self.id):
                raise StoreError(
                    f"column {name!r} has {len(column)} values for {len(self.id)} samples", "Align them."
                )
        for modality, item in self.features.items():
            if item.keys.shape != (len(self.id), KEY_BYTES) or item.present.shape != (len(self.id),):
                raise StoreError(
                    f"feature column {modality!r} does not have one key per sample", "Align them."
                )
        if len(set(self.id)) != len(self.id):
            twice = sorted({name for name in self.id if self.id.count(name) > 1})[:3]
            raise StoreError(
                f"sample ids are not unique: {', '.join(twice)}", "Give every sample its own id."
            )

    def __len__(self) -> int:
        """Number of samples (N)."""
        return len(self.id)

    @classmethod
    def from_samples(
        cls,
        samples: Iterable[Sample],
        feature_sets: Mapping[str, str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> SampleTable:
        """Build a table from samples in order.

        Args:
            samples: the samples.
            feature_sets: modality -> fingerprint of its feature set, for every modality any sample has.
            attributes: JSON object about the whole table.

        Raises:
            StoreError: for repeated ids, a modality without a feature set, or uneven extra columns.
        """
        items = list(samples)
        columns: dict[str, Any] = {name: tuple(getattr(s, name) for s in items) for name in TEXT_COLUMNS}
        columns |= {
            name: _numbers(name, [getattr(s, name) for s in items], np.float64) for name in FLOAT_COLUMNS
        }
        return cls(
            **columns,
            utterance=_numbers("utterance", [s.utterance for s in items], np.int64),
            extra=_extra_columns(items),
            features=_feature_columns(items, dict(feature_sets or {})),
            attributes=dict(attributes or {}),
        )

    def columns(self) -> dict[str, Column]:
        """Every column but the features, standard ones first."""
        names = [f.name for f in fields(self) if f.name not in ("extra", "features", "attributes", "version")]
        return {name: getattr(self, name) for name in names} | dict(self.extra)

    def rows(self, split: str | None = None, where: Callable[[int], bool] | None = None) -> Int64:
        """Return the row numbers of a split, or of every sample `where` admits, in table order.

        Raises:
            StoreError: when the table has no such split.
        """
        if split is not None and split not in self.split:
            known = ", ".join(self.splits()) or "none"
            raise StoreError(f"the table has no split {split!r}", f"Its splits: {known}.")
        chosen = np.arange(len(self)) if split is None else np.flatnonzero(np.array(self.split) == split)
        if where is not None:
            chosen = chosen[[where(int(row)) for row in chosen]]
        return chosen.astype(np.int64)

    def splits(self) -> dict[str, int]:
        """Return split -> number of samples, in order of appearance."""
        counts: dict[str, int] = {}
        for name in self.split:
            counts[name] = counts.get(name, 0) + 1
        return counts

    def dialogues(self) -> dict[str, Int64]:
        """Return dialogue -> its rows in order of utterance; samples without a dialogue are left out."""
        members: dict[str, list[int]] = {}
        for row, name in enumerate(self.dialogue):
            if name:
                members.setdefault(name, []).append(row)
        return {
            name: np.array(sorted(rows, key=lambda row: (self.utterance[row], row)), np.int64)
            for name, rows in members.items()
        }

    def select(self, rows: Sequence[int] | Int64) -> SampleTable:
        """Return a new table of the given rows, in the given order."""
        index = np.asarray(rows, np.int64)

        def pick(column: Column) -> Column:
            return (
                column[index]
                if isinstance(column, np.ndarray)
                else tuple(column[row] for row in index.tolist())
            )

        changes: dict[str, Any] = {name: pick(column) for name, column in self.columns().items()}
        extra = {name: changes.pop(name) for name in self.extra}
        features = {
            name: FeatureColumn(item.fingerprint, item.keys[index], item.present[index])
            for name, item in self.features.items()
        }
        return replace(self, **changes, extra=extra, features=features)

    def without(self, modality: str) -> SampleTable:
        """Return a new table without the features of one modality."""
        return replace(
            self, features={name: item for name, item in self.features.items() if name != modality}
        )

    def feature(self, modality: str) -> FeatureColumn:
        """Return the feature column of a modality.

        Raises:
            StoreError: when the table has none.
        """
        if modality not in self.features:
            known = ", ".join(self.features) or "none"
            raise StoreError(f"the table has no {modality!r} features", f"Its modalities: {known}.")
        return self.features[modality]


def _extra_columns(items: Sequence[Sample]) -> dict[str, Column]:
    names = list(dict.fromkeys(name for sample in items for name in sample.extra))
    columns: dict[str, Column] = {}
    for name in names:
        if name in SampleTable.__dataclass_fields__:
            raise StoreError(f"extra column {name!r} has the name of a standard column", "Rename it.")
        missing = [sample.id for sample in items if name not in sample.extra]
        if missing:
            raise StoreError(
                f"extra column {name!r} is missing in sample {missing[0]!r}", "Give it a value everywhere."
            )
        columns[name] = _column(name, [sample.extra[name] for sample in items])
    return columns


def _column(name: str, values: Sequence[str | float | int]) -> Column:
    if all(isinstance(value, str) for value in values):
        return tuple(str(value) for value in values)
    if any(isinstance(value, str) for value in values):
        raise StoreError(f"extra column {name!r} mixes strings and numbers", "Make it one or the other.")
    if all(isinstance(value, int | np.integer) for value in values):
        return _numbers(name, values, np.int64)
    return _numbers(name, values, np.float64)


def _numbers(name: str, values: Sequence[Any], dtype: type[np.int64 | np.float64]) -> npt.NDArray[Any]:
    try:
        return np.array(values, dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise StoreError(
            f"column {name!r} holds what is no {dtype.__name__}: {error}",
            "Correct the value, or make it text.",
        ) from error


def _feature_columns(items: Sequence[Sample], feature_sets: Mapping[str, str]) -> dict[str, FeatureColumn]:
    used = dict.fromkeys(name for sample in items for name in sample.features)
    for name in used:
        if name not in feature_sets:
            raise StoreError(f"samples have {name!r} features but no feature set is named for it", "Name it.")
    columns = {}
    for name, fingerprint in feature_sets.items():
        keys = [sample.features.get(name, b"") for sample in items]
        present = np.array([bool(key) for key in keys], bool)
        raw = b"".join(key or bytes(KEY_BYTES) for key in keys)
        if len(raw) != len(items) * KEY_BYTES:
            raise StoreError(f"a {name!r} key does not have {KEY_BYTES} bytes", "Use sample_key().")
        columns[name] = FeatureColumn(
            fingerprint, np.frombuffer(raw, np.uint8).reshape(-1, KEY_BYTES), present
        )
    return columns
