"""Datasets of a store as MMSA pickles, which import back to the same store."""

from __future__ import annotations

import math
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from msakit.feature_store.disk.files import finished_file
from msakit.feature_store.dtypes import decode_float32
from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import Array
from msakit.feature_store.interchange.mmsa_rows import COLUMN_KEYS, OWN_COLUMNS, TABLE_FIELDS
from msakit.feature_store.reader import FeatureReader
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import SPLITS, SampleTable

PROTOCOL = 5
"""Arrays are streamed from disk with protocol 5; older ones would copy each into memory first."""
DERIVED_COLUMNS = {"video", "source_id", *(column for column, _ in COLUMN_KEYS.values())}


@dataclass
class ExportReport:
    """The report of an export: samples per split, shapes per split and key, and what MMSA lacks."""

    file: Path
    dataset: str
    splits: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**vars(self), "file": str(self.file)}


@dataclass(frozen=True)
class PaddedLayout:
    """How one modality is padded in one split: to `length` frames of `dtype`, zeros at `side`."""

    length: int
    side: str
    dtype: str


def export_mmsa(store: FeatureStore, dataset: str, path: Path) -> ExportReport:
    """Write a dataset as one MMSA pickle.

    Sequences are padded to the length and on the side they were imported with, in the dtype they had; without
    such a record, to the longest of the dataset, behind, in float32. The file appears under its name complete
    or not at all; memory stays below the size of one padded array.

    Raises:
        StoreError: the file exists, the dataset does not, or a split is not train, valid or test.
        StoreWriteError: the system refuses to write.
    """
    table = store.table(dataset)
    unknown = set(table.splits()) - set(SPLITS)
    if unknown:
        raise StoreError(
            f"dataset {dataset!r} has the split {sorted(unknown)[0]!r}", "MMSA knows train, valid, test."
        )
    report = ExportReport(path, dataset)
    readers = {name: store.reader(table, name) for name in table.features}
    if not {"text", "text_bert"} & set(readers):
        report.notes.append(
            "no text features (text or text_bert): MMSA reads the file only with its own text added"
        )
    with finished_file(path) as tmp, tempfile.TemporaryDirectory(prefix="msakit-export-") as scratch:
        content = {
            split: _export_split(table, readers, split, Path(scratch), report)
            for split in SPLITS
            if split in table.split
        }
        with tmp.open("xb") as stream:
            pickle.Pickler(stream, protocol=PROTOCOL).dump(content)
            stream.flush()
            os.fsync(stream.fileno())
    return report


def _export_split(
    table: SampleTable, readers: dict[str, FeatureReader], split: str, scratch: Path, report: ExportReport
) -> dict[str, Any]:
    rows = table.rows(split).tolist()
    data: dict[str, Any] = {
        "id": _column(table, "source_id" if "source_id" in table.extra else "id", rows),
        "raw_text": _column(table, "text", rows),
        **_export_labels(table, rows),
    }
    for name, reader in readers.items():
        layout = _layout(table, reader, split, rows)
        padded, lengths = _pad(reader, rows, layout, scratch / f"{split}-{name}")
        if name == "text_bert":
            padded = np.ascontiguousarray(padded.transpose(0, 2, 1))
        data[name] = padded
        data.setdefault(f"{name}_lengths", lengths)
    data.pop("text_bert_lengths", None)
    own = _export_own_columns(table, rows)
    if own:
        data[OWN_COLUMNS] = own
    report.splits[split] = len(rows)
    report.shapes[split] = {
        key: list(value.shape) for key, value in data.items() if isinstance(value, np.ndarray)
    }
    return data


def _column(table: SampleTable, name: str, rows: Sequence[int]) -> list[Any]:
    column = table.columns()[name]
    return [column[row].item() if isinstance(column, np.ndarray) else column[row] for row in rows]


def _export_labels(table: SampleTable, rows: Sequence[int]) -> dict[str, Any]:
    """Label keys of MMSA: ratings where there are any, else classes, and what was kept beside them."""
    labels: dict[str, Any] = {}
    if not np.isnan(table.label).all():
        labels["regression_labels"] = _narrow(table.label[rows])
    elif any(table.label_name):
        labels["classification_labels"] = _column(table, "label_name", rows)
    for key, (column, is_number) in COLUMN_KEYS.items():
        if column in table.extra:
            values = _column(table, column, rows)
            labels[key] = _narrow(np.array(values, np.float64)) if is_number else _as_numbers(values)
    if not labels:
        raise StoreError("the dataset has neither ratings nor class names", "MMSA files need labels.")
    return labels


def _as_numbers(values: list[Any]) -> Any:
    """Class labels as int64 where every one is a whole number, as they came from MMSA."""
    try:
        return np.array([int(value) for value in values], np.int64)
    except (TypeError, ValueError):
        return [str(value) for value in values]


def _narrow(values: Array) -> Array:
    """Labels in float32, as MMSA has them, unless that would change one."""
    narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), values, equal_nan=True) else values


def _export_own_columns(table: SampleTable, rows: Sequence[int]) -> dict[str, list[Any]]:
    """Columns that hold something and that MMSA has no key for."""
    own: dict[str, list[Any]] = {}
    rated = not np.isnan(table.label).all()
    for name, nothing in TABLE_FIELDS.items():
        if name == "label_name" and not rated:
            continue
        column = table.columns()[name]
        if any(value != nothing and not _is_nan(value) for value in column):
            own[name] = _column(table, name, rows)
    own |= {name: _column(table, name, rows) for name in table.extra if name not in DERIVED_COLUMNS}
    return own


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _layout(table: SampleTable, reader: FeatureReader, split: str, rows: Sequence[int]) -> PaddedLayout:
    imported = table.attributes.get("import", {}).get("modalities", {}).get(reader.modality, {})
    recorded = imported.get("padding", {}).get(split, {})
    longest = int(reader.lengths[rows].max(initial=1)) if recorded else int(reader.lengths.max(initial=1))
    dtype = str(imported.get("source_dtype", "<f4"))
    return PaddedLayout(
        max(longest, int(recorded.get("length", 1))), str(recorded.get("side", "back")), dtype
    )


def _pad(
    reader: FeatureReader, rows: Sequence[int], layout: PaddedLayout, scratch: Path
) -> tuple[Array, list[int]]:
    """Padded array [N, length, D] on disk, and lengths; an absent sample is zeros of length 1, as in MMSA."""
    shape = (len(rows), layout.length, reader.width)
    padded: Array = np.memmap(scratch, np.dtype(layout.dtype), "w+", shape=shape)
    lengths = []
    for place, row in enumerate(rows):
        reader.read([row])
        stored = reader.view(row) if reader.lengths[row] else np.empty((0, reader.width), np.float32)
        values = decode_float32(stored, reader.dtype) if reader.dtype == "bfloat16" else stored
        start = layout.length - len(values) if layout.side == "front" else 0
        padded[place, start : start + len(values)] = values
        lengths.append(max(1, len(values)))
    return np.asarray(padded), lengths
