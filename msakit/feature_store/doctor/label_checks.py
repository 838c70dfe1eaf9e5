"""Checks of labels: missing, out of range, off the grid, classes that a split lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from msakit.feature_store.doctor.report import DataProblem, Expectations, Severity, examples
from msakit.feature_store.table import SampleTable

GRID_TOLERANCE = 1e-4
RARE = 5


def check_labels(table: SampleTable, expected: Expectations) -> Iterator[DataProblem]:
    """Findings about ratings and class names."""
    named = np.array([bool(name.strip()) for name in table.label_name], bool)
    unlabelled = np.flatnonzero(
        np.isnan(table.label) & ~named & np.array([bool(s) for s in table.split], bool)
    )
    if unlabelled.size:
        remedy = "Drop them or label them."
        yield _finding(table, "no-label", "error", unlabelled.tolist(), "have no label", remedy)
    rated = np.flatnonzero(~np.isnan(table.label))
    if rated.size:
        yield from _check_ratings(table, rated, expected)
    if named.any():
        yield from _check_classes(table, named)


def _check_ratings(
    table: SampleTable, rated: np.ndarray[tuple[int], np.dtype[np.intp]], expected: Expectations
) -> Iterator[DataProblem]:
    infinite = rated[np.isinf(table.label[rated])].tolist()
    if infinite:
        yield _finding(
            table, "label-infinite", "error", infinite, "are rated infinite", "Correct the labels."
        )
    finite = rated[np.isfinite(table.label[rated])]
    if expected.label_range is not None:
        low, high = expected.label_range
        beyond = finite[(table.label[finite] < low) | (table.label[finite] > high)].tolist()
        if beyond:
            yield _finding(
                table,
                "label-range",
                "error",
                beyond,
                f"are rated outside [{low:g}, {high:g}]",
                "Correct the labels, or the range of the dataset.",
            )
        if expected.label_step > 0:
            steps = (table.label[finite] - low) / expected.label_step
            off = finite[np.abs(steps - np.round(steps)) * expected.label_step > GRID_TOLERANCE].tolist()
            if off:
                what = f"are rated off the grid of {expected.label_step:g}"
                yield _finding(
                    table, "label-grid", "warning", off, what, "See whether the labels were averaged."
                )
    for split in table.splits():
        values = table.label[[row for row in finite.tolist() if table.split[row] == split]]
        if values.size > 1 and values.min() == values.max():
            yield DataProblem(
                "label-constant",
                "error",
                "label",
                f"All {values.size} samples of {split} are rated {values[0]:g}.",
                "Nothing can be learnt or measured on it; check the import.",
                int(values.size),
            )


def _check_classes(
    table: SampleTable, named: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> Iterator[DataProblem]:
    counts: dict[str, Counter[str]] = {split: Counter() for split in table.splits()}
    for row in np.flatnonzero(named).tolist():
        counts[table.split[row]][table.label_name[row]] += 1
    classes = sorted({name for found in counts.values() for name in found})
    trained = counts.get("train", Counter())
    for split, found in counts.items():
        unseen = [name for name in found if split != "train" and trained and name not in trained]
        if unseen:
            rows = [
                row
                for row in range(len(table))
                if table.split[row] == split and table.label_name[row] in unseen
            ]
            what = f"of {split} are of classes that train lacks ({', '.join(unseen)})"
            yield _finding(
                table, "class-unseen", "error", rows, what, "Correct the class names or the splits."
            )
        absent = [name for name in classes if name not in found]
        if absent:
            message = f"{split} has no sample of {', '.join(absent)}."
            yield DataProblem(
                "class-absent", "warning", "label_name", message, "Its figures leave them out.", len(absent)
            )
    rare = [f"{name} ({trained[name]})" for name in classes if 0 < trained[name] < RARE]
    if rare:
        message = f"Classes with fewer than {RARE} training samples: {', '.join(rare)}."
        yield DataProblem("class-rare", "info", "label_name", message, "Expect no recall on them.", len(rare))
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(name.strip().casefold(), []).append(name)
    twins = [names for names in spellings.values() if len(names) > 1]
    if twins:
        message = (
            f"Class names differ in case or blanks only: {'; '.join(', '.join(names) for names in twins)}."
        )
        yield DataProblem(
            "class-spelling", "error", "label_name", message, "Unify them in the source.", len(twins)
        )


def _finding(
    table: SampleTable, code: str, severity: Severity, rows: Sequence[int], what: str, remedy: str
) -> DataProblem:
    ids = examples([table.id[row] for row in rows])
    return DataProblem(code, severity, "label", f"{len(rows)} samples {what}.", remedy, len(rows), ids)
