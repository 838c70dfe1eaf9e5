"""Choosing samples of a table by split, column values and ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from msakit.feature_store.errors import StoreError
from msakit.feature_store.regular import read_bounded
from msakit.feature_store.table import SampleTable

MAX_IDS_BYTES = 64 << 20


def matching_rows(
    table: SampleTable,
    *,
    splits: Sequence[str] = (),
    where: Sequence[str] = (),
    ids: Sequence[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Return the rows that are in one of the splits, meet every condition and are listed.

    Args:
        table: the table.
        splits: splits to keep; all when empty.
        where: conditions "column=value"; numbers compare as numbers.
        ids: ids to keep; all when None.

    Raises:
        StoreError: for an unknown split, column or id, a malformed condition, or when nothing is left.
    """
    keep = np.ones(len(table), bool)
    if splits:
        keep &= np.isin(np.arange(len(table)), np.concatenate([table.rows(name) for name in splits]))
    for condition in where:
        keep &= _holds(table, condition)
    if ids is not None:
        unknown = sorted(set(ids) - set(table.id))
        if unknown:
            raise StoreError(
                f"the table has no sample {unknown[0]!r} ({len(unknown)} unknown ids)", "Check the list."
            )
        keep &= np.isin(np.array(table.id), np.array(ids))
    if not keep.any():
        raise StoreError("no sample is selected", "Loosen the conditions.")
    return np.flatnonzero(keep).astype(np.int64)


def read_ids(path: Path) -> list[str]:
    """Read sample ids from a text file, one a line.

    Raises:
        StoreError: when it cannot be read, is larger than 64 MB or not UTF-8.
    """
    try:
        text = read_bounded(path, MAX_IDS_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is not a text file in UTF-8", "Save it as UTF-8, one id a line.") from error
    return [line.strip("\r") for line in text.split("\n") if line.strip()]


def _holds(table: SampleTable, condition: str) -> npt.NDArray[np.bool_]:
    name, sign, value = condition.partition("=")
    if not sign:
        raise StoreError(f"{condition!r} is not COLUMN=VALUE", "As in speaker=s1.")
    columns = table.columns()
    if name not in columns:
        raise StoreError(f"the table has no column {name!r}", f"Its columns: {', '.join(columns)}.")
    column = columns[name]
    if not isinstance(column, np.ndarray):
        return np.array([item == value for item in column], bool)
    try:
        return np.asarray(column == float(value), bool)
    except ValueError as error:
        raise StoreError(f"column {name!r} holds numbers, {value!r} is none", "Give a number.") from error
