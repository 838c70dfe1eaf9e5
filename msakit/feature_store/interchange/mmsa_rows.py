"""The rows of an MMSA pickle: ids, texts, labels and the columns an export adds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    VIDEO_SEPARATOR,
    read_id,
    read_number,
    read_text,
    read_whole_number,
)
from msakit.feature_store.table import Utterance

UNIMODAL = {"T": "text", "A": "audio", "V": "vision"}
SEQUENCE_KEYS = ("audio", "vision", "text")
LABEL_KEYS = ("regression_labels", "labels", "classification_labels")
COLUMN_KEYS: dict[str, tuple[str, bool]] = {
    "annotations": ("annotation", False),
    "classification_labels": ("class_label", False),
    **{f"regression_labels_{key}": (f"label_{name}", True) for key, name in UNIMODAL.items()},
    **{f"classification_labels_{key}": (f"class_label_{name}", False) for key, name in UNIMODAL.items()},
}
"""Pickle key -> (extra column of the sample table, whether it is a number)."""
OWN_COLUMNS = "msakit_columns"
"""Key under which an export keeps the table's columns that MMSA has no key for."""
SCALAR_KEYS = {*LABEL_KEYS, *COLUMN_KEYS, OWN_COLUMNS, "raw_text", "id"}
TABLE_FIELDS = {
    "label_name": "",
    "speaker": "",
    "dialogue": "",
    "utterance": -1,
    "start_s": math.nan,
    "end_s": math.nan,
}
"""Columns of the table that MMSA lacks, with the value that means nothing is known."""
SplitData = Mapping[str, Any]


def read_rows(data: SplitData, split: str, place: str) -> list[Utterance]:
    """Ids, texts, labels and further columns of one split.

    Raises:
        StoreError: no samples, no labels, or columns of different lengths; names file, split and key.
    """
    count = count_rows(data, place)
    ids = _read_list(data, "id", count, place)
    texts = _read_list(data, "raw_text", count, place)
    rows = []
    for number in range(count):
        name = read_id(ids[number]) if ids else f"{split}-{number:05d}"
        rows.append(Utterance(id=name, split=split, text=read_text(texts[number]) if texts else ""))
        if VIDEO_SEPARATOR in name:
            rows[-1].extra["video"] = name.split(VIDEO_SEPARATOR)[0]
    _read_labels(data, rows, place)
    _read_own_columns(data, rows, place)
    return rows


def _read_own_columns(data: SplitData, rows: list[Utterance], place: str) -> None:
    columns = data.get(OWN_COLUMNS, {})
    if not isinstance(columns, dict):
        raise StoreError(f"{place}.{OWN_COLUMNS} is not a dictionary of columns", "Remove the key.")
    for name in columns:
        for row, value in zip(
            rows, _read_list(columns, name, len(rows), f"{place}.{OWN_COLUMNS}"), strict=True
        ):
            where = f"{place}.{OWN_COLUMNS}.{name}"
            if name == "utterance":
                row.utterance = read_whole_number(value, where)
            elif name in ("start_s", "end_s"):
                setattr(row, name, read_number(value, where))
            elif name in TABLE_FIELDS:
                setattr(row, name, read_text(value))
            else:
                row.extra[str(name)] = value if isinstance(value, int | float) else read_text(value)


def _read_labels(data: SplitData, rows: list[Utterance], place: str) -> None:
    regression = next((key for key in ("regression_labels", "labels") if key in data), None)
    if regression is None and "classification_labels" not in data:
        raise StoreError(
            f"{place} has no labels",
            f"Expected one of {', '.join(LABEL_KEYS)}; the split has: {name_keys(data)}.",
        )
    if regression:
        for number, value in enumerate(_read_list(data, regression, len(rows), place)):
            rows[number].label = read_number(value, f"{place}.{regression}[{number}]")
    else:
        for number, value in enumerate(_read_list(data, "classification_labels", len(rows), place)):
            rows[number].label_name = _read_class(value)
    for key, (column, is_number) in COLUMN_KEYS.items():
        if key not in data or (key == "classification_labels" and not regression):
            continue
        for number, value in enumerate(_read_list(data, key, len(rows), place)):
            cell = read_number(value, f"{place}.{key}[{number}]") if is_number else _read_class(value)
            rows[number].extra[column] = cell


def _read_class(value: object) -> str:
    """A class label as text: whole floats lose their ".0" and a missing one is empty."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
        value = value[0] if len(value) == 1 else value
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    return read_text(value)


def count_rows(data: SplitData, place: str) -> int:
    """Samples of a split.

    Raises:
        StoreError: no column tells.
    """
    for key in ("id", "raw_text", *LABEL_KEYS, *SEQUENCE_KEYS):
        items = as_items(data.get(key))
        if items is not None:
            return len(items)
    raise StoreError(f"{place} holds no samples", f"The split has: {name_keys(data)}.")


def _read_list(data: SplitData, key: str, count: int, place: str) -> list[Any]:
    if key not in data:
        return []
    items = as_items(data[key])
    if items is None or len(items) != count:
        found = "no" if items is None else len(items)
        raise StoreError(
            f"{place}.{key} has {found} entries for {count} samples", "The file is inconsistent."
        )
    return items


def as_items(value: object) -> list[Any] | None:
    """Entries of a column, or None for what is no column."""
    if isinstance(value, np.ndarray):
        return list(value) if value.ndim else None
    return value if isinstance(value, list) else None


def name_keys(data: Mapping[Any, Any]) -> str:
    """The first keys of a dictionary, for messages."""
    return ", ".join(str(key) for key in list(data)[:20])
