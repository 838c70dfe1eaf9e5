"""Column access to padded arrays and ragged lists, whichever a pickle holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import Array, ImportedModality
from msakit.feature_store.interchange.padding import (
    PaddingTally,
    Span,
    choose_side,
    cut_margin,
    find_span,
    zero_margins,
)

NUMERIC_KINDS = "biuf"


@dataclass(frozen=True)
class SequenceColumn:
    """The sequences of one modality in one split, still padded: `get(i)` is [T, D]."""

    where: str
    num_rows: int
    get: Callable[[int], Array]
    dtype: str


def read_sequences(value: object, where: str) -> SequenceColumn:
    """Interpret [N, T, D], [N, D] (one frame each) or a list of [T, D].

    Raises:
        StoreError: `value` is not numeric or has another shape; `where` names the file and the key.
    """
    if isinstance(value, np.ndarray) and value.dtype != object:
        frames = value[:, None, :] if value.ndim == 2 else value
        if frames.ndim != 3 or frames.dtype.kind not in NUMERIC_KINDS:
            raise StoreError(
                f"{where}: expected [samples, frames, features], found {value.dtype} {list(value.shape)}",
                "Store one padded array, or a list with one [frames, features] array a sample.",
            )
        return SequenceColumn(where, len(frames), frames.__getitem__, frames.dtype.str)
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list):
        raise StoreError(
            f"{where}: expected feature arrays, found {type(value).__name__}", "Check the file's layout."
        )
    matrices = [read_matrix(item, f"{where}[{number}]") for number, item in enumerate(items)]
    dtype = matrices[0].dtype.str if matrices else "<f4"
    return SequenceColumn(where, len(matrices), matrices.__getitem__, dtype)


def read_matrix(value: object, where: str) -> Array:
    """One sequence [T, D]; a vector is one frame.

    Raises:
        StoreError: not numeric or not two-dimensional.
    """
    try:
        matrix = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"{where}: not a numeric array ({error})", "Every sample needs a [frames, features] array."
        ) from error
    if matrix.ndim == 1:
        matrix = matrix[None, :]
    if matrix.ndim != 2 or matrix.dtype.kind not in NUMERIC_KINDS:
        raise StoreError(
            f"{where}: expected [frames, features] numbers, found {matrix.dtype} {list(matrix.shape)}",
            "Every sample needs a [frames, features] array.",
        )
    return matrix


class SpanTable:
    """Spans and columns of one modality over all splits; its `load` is what a corpus hands out."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.padding: dict[str, PaddingTally] = {}
        self._cells: list[tuple[SequenceColumn, int, Span] | None] = []
        self._dtype = ""

    def add(self, split: str, column: SequenceColumn, spans: list[Span]) -> None:
        """Append the samples of one split."""
        tally = self.padding.setdefault(split, PaddingTally())
        self._dtype = self._dtype or column.dtype
        for number, span in enumerate(spans):
            tally.add(int(column.get(number).shape[0]), span)
            self._cells.append((column, number, span))

    def add_missing(self, count: int) -> None:
        """Append samples that lack the modality."""
        self._cells.extend([None] * count)

    def load(self, row: int) -> Array | None:
        """Real frames [T, D] of a row, or None where the modality is absent."""
        cell = self._cells[row]
        if cell is None or cell[2].verdict == "absent":
            return None
        column, number, span = cell
        return column.get(number)[span.start : span.stop]

    def as_modality(self) -> ImportedModality:
        """The finished modality."""
        return ImportedModality(self.name, self.load, self.source, self._dtype or "<f4", self.padding)


def read_lengths(lengths: object, count: int, where: str) -> Array:
    """One stated length a sample.

    Raises:
        StoreError: they are not one finite number a sample.
    """
    try:
        values = np.asarray(lengths, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(
            f"{where}: lengths are no numbers ({error})", "Write them as whole numbers."
        ) from error
    if values.size != count:
        raise StoreError(
            f"{where}: {count} samples but {values.size} lengths",
            "The file's lengths and features disagree; write it again from one source.",
        )
    if not np.isfinite(values).all():
        raise StoreError(f"{where}: lengths hold NaN or infinity", "Write them as whole numbers.")
    return values


def spans_by_length(column: SequenceColumn, lengths: object) -> list[Span]:
    """Spans from stated lengths.

    Raises:
        StoreError: the lengths are not one number a sample.
    """
    values = read_lengths(lengths, column.num_rows, column.where)
    return [find_span(column.get(number), int(length)) for number, length in enumerate(values)]


def spans_by_zeros(columns: Mapping[str, SequenceColumn]) -> dict[str, list[Span]]:
    """Spans for modalities without lengths.

    Modalities of one common length are taken for word-aligned: a frame is padding only where all of them are
    zero, so that they stay aligned. Otherwise each modality is judged alone.
    """
    if len(columns) > 1 and _share_length(columns):
        count = next(iter(columns.values())).num_rows
        joint = [
            _joint_margins([column.get(number) for column in columns.values()]) for number in range(count)
        ]
        return {name: _spans(column, joint) for name, column in columns.items()}
    alone = {
        name: [zero_margins(column.get(number)) for number in range(column.num_rows)]
        for name, column in columns.items()
    }
    return {name: _spans(column, alone[name]) for name, column in columns.items()}


def _share_length(columns: Mapping[str, SequenceColumn]) -> bool:
    counts = {column.num_rows for column in columns.values()}
    if len(counts) != 1:
        return False
    return all(
        len({column.get(number).shape[0] for column in columns.values()}) == 1
        for number in range(counts.pop())
    )


def _joint_margins(matrices: list[Array]) -> tuple[int, int]:
    margins = [zero_margins(matrix) for matrix in matrices]
    total = int(matrices[0].shape[0])
    # A modality that is zero throughout is missing and says nothing about where the others are padded.
    told = [margin for margin in margins if margin[0] != total] or margins
    return min(before for before, _ in told), min(after for _, after in told)


def _spans(column: SequenceColumn, margins: list[tuple[int, int]]) -> list[Span]:
    side = choose_side(margins)
    spans = []
    for number, margin in enumerate(margins):
        values = column.get(number)
        total = int(values.shape[0])
        absent = not values.any()
        spans.append(Span(0, 0, "absent") if absent else cut_margin(total, margin, side))
    return spans
