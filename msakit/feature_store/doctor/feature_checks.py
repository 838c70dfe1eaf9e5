"""Checks of one modality's features in one pass, which keeps no more of a sequence than its mean frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from msakit.feature_store.doctor.probe import Means
from msakit.feature_store.doctor.report import DataProblem, Severity, examples
from msakit.feature_store.errors import StoreCorruptError
from msakit.feature_store.reader import FeatureReader
from msakit.feature_store.table import SampleTable

HUGE = 1e6
TOKENS = "text_bert"
"""Token ids with their mask and segments, which are constant where nothing is padding."""
PADDED_SHARE = 0.05
LENGTH_FACTOR = 20
ZERO_MARGIN = 2


@dataclass
class FeatureTally:
    """Statistics from one pass over a modality; row lists hold table rows."""

    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    damaged: list[int] = field(default_factory=list)
    nonfinite: list[int] = field(default_factory=list)
    num_nan: int = 0
    num_inf: int = 0
    empty: list[int] = field(default_factory=list)
    all_zero: list[int] = field(default_factory=list)
    zero_ends: list[int] = field(default_factory=list)

    @classmethod
    def of_width(cls, width: int) -> FeatureTally:
        """An empty tally."""
        return cls(np.full(width, np.inf, np.float32), np.full(width, -np.inf, np.float32))

    def add(self, row: int, values: npt.NDArray[np.float32]) -> None:
        """Take in one sequence [T, D]."""
        if not len(values):
            self.empty.append(row)
            return
        good = np.isfinite(values)
        if not good.all():
            self.nonfinite.append(row)
            self.num_nan += int(np.isnan(values).sum())
            self.num_inf += int(np.isinf(values).sum())
        self.lowest = np.minimum(self.lowest, np.where(good, values, np.inf).min(axis=0))
        self.highest = np.maximum(self.highest, np.where(good, values, -np.inf).max(axis=0))
        used = np.flatnonzero(values.any(axis=1))
        if not used.size:
            self.all_zero.append(row)
        elif len(values) - 1 - used[-1] >= ZERO_MARGIN or used[0] >= ZERO_MARGIN:
            self.zero_ends.append(row)


def tally_features(reader: FeatureReader, row: int, tally: FeatureTally, means: Means) -> None:
    """Read one row into a tally; a damaged one is noted, not raised."""
    try:
        values = reader.read_one(row)
    except StoreCorruptError:
        tally.damaged.append(row)
        return
    tally.add(row, values)
    means.add(row, values)


def judge_features(table: SampleTable, reader: FeatureReader, tally: FeatureTally) -> Iterator[DataProblem]:
    """Findings about one modality."""
    where = reader.modality
    num_present = int(reader.present.sum())
    if tally.damaged:
        remedy = "Run `msakit store validate --repair` and import or extract what it lists."
        yield _finding(table, where, "damaged", "error", tally.damaged, "do not match their checksum", remedy)
    if tally.nonfinite:
        what = f"hold {tally.num_nan:,} NaN and {tally.num_inf:,} infinite values"
        remedy = "Import again with --nonfinite zero, or drop the samples."
        yield _finding(table, where, "nonfinite", "error", tally.nonfinite, what, remedy)
    if tally.empty:
        what = "are present but have no frame"
        yield _finding(table, where, "empty-sequence", "warning", tally.empty, what, "Extract them again.")
    if tally.all_zero:
        what = "consist of zeros: the extractor failed or the modality is missing"
        yield _finding(
            table, where, "all-zero", "warning", tally.all_zero, what, "Leave the modality out there."
        )
    if len(tally.zero_ends) > PADDED_SHARE * max(1, num_present):
        what = f"begin or end with at least {ZERO_MARGIN} frames of zeros"
        remedy = "This looks like padding that no length told of; import again from a file with lengths."
        yield _finding(table, where, "padding", "warning", tally.zero_ends, what, remedy)
    yield from _judge_columns(where, tally)
    yield from _judge_presence(table, reader)
    yield from _judge_lengths(table, reader)


def _judge_columns(where: str, tally: FeatureTally) -> Iterator[DataProblem]:
    constant = np.flatnonzero(tally.lowest == tally.highest).tolist()
    if constant and where != TOKENS:
        message = f"{len(constant)} of {len(tally.lowest)} features never change: {_numbers(constant)}."
        remedy = "They carry nothing; a broken extractor often shows so."
        yield DataProblem("constant-feature", "warning", where, message, remedy, len(constant))
    extreme = np.maximum(np.abs(tally.lowest), np.abs(tally.highest))
    huge = np.flatnonzero(np.isfinite(extreme) & (extreme > HUGE)).tolist()
    if huge:
        message = f"{len(huge)} features exceed {HUGE:.0e}: {_numbers(huge)}."
        yield DataProblem(
            "huge-values", "warning", where, message, "Normalise features before training.", len(huge)
        )


def _judge_presence(table: SampleTable, reader: FeatureReader) -> Iterator[DataProblem]:
    for split in table.splits():
        rows = table.rows(split)
        missing = rows[~reader.present[rows]]
        if not missing.size:
            continue
        severity: Severity = "error" if missing.size == rows.size else "info"
        ids = examples([table.id[row] for row in missing.tolist()])
        message = f"{missing.size} of {rows.size} samples of {split} lack it."
        remedy = "Expected where media lack it; otherwise extract or import it."
        yield DataProblem("absent", severity, reader.modality, message, remedy, int(missing.size), ids)


def _judge_lengths(table: SampleTable, reader: FeatureReader) -> Iterator[DataProblem]:
    lengths = reader.lengths[reader.present & (reader.lengths > 0)]
    if not lengths.size:
        return
    limit = LENGTH_FACTOR * max(1.0, float(np.median(lengths)))
    long = np.flatnonzero(reader.lengths > limit).tolist()
    if long:
        what = f"are over {LENGTH_FACTOR} times as long as the median of {np.median(lengths):.0f} frames"
        yield _finding(
            table, reader.modality, "long-sequence", "info", long, what, "They set the cost of their batch."
        )


def _finding(
    table: SampleTable, where: str, code: str, severity: Severity, rows: list[int], what: str, remedy: str
) -> DataProblem:
    ids: Any = examples([table.id[row] for row in rows])
    return DataProblem(code, severity, where, f"{len(rows)} samples {what}.", remedy, len(rows), ids)


def _numbers(indices: list[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:10])
    return shown + (", ..." if len(indices) > 10 else "")
