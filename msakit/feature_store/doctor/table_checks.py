"""Checks of a sample table: ids, splits, texts and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from msakit.feature_store.doctor.language import MIN_SHARE, is_garbled, script_share
from msakit.feature_store.doctor.report import DataProblem, Expectations, examples
from msakit.feature_store.table import SPLITS, SampleTable

SOURCE_ID = "source_id"
GROUPS = {"dialogue": "error", "video": "warning", "speaker": "warning"}
"""Column -> severity of one value in several splits. Publishers do split videos and speakers (SIMS, MELD)."""


def check_table(table: SampleTable, expected: Expectations) -> Iterator[DataProblem]:
    """Findings about everything in a table but labels and features."""
    yield from _check_splits(table)
    yield from _check_ids(table)
    yield from _check_copies(table)
    yield from _check_leaks(table)
    yield from _check_texts(table, expected)
    yield from _check_times(table)


def _check_splits(table: SampleTable) -> Iterator[DataProblem]:
    if len(table) == 0:
        yield DataProblem("empty-dataset", "error", "table", "There is no sample.", "Import the data again.")
        return
    found = table.splits()
    if unsplit := found.pop("", 0):
        message = f"{unsplit} samples have no split."
        yield DataProblem(
            "no-split", "info", "split", message, "They can be predicted, not trained on.", unsplit
        )
    for split in SPLITS if found else ():
        if split not in found:
            yield DataProblem(
                "missing-split",
                "warning",
                "split",
                f"There is no {split} split.",
                "Training needs train and valid.",
            )
    unknown = [split for split in found if split not in SPLITS]
    if unknown:
        message = f"Samples are in splits nobody reads: {', '.join(unknown)}."
        count = sum(found[split] for split in unknown)
        yield DataProblem("unknown-split", "error", "split", message, "Use train, valid and test.", count)


def _check_ids(table: SampleTable) -> Iterator[DataProblem]:
    column = table.extra.get(SOURCE_ID)
    if column is None:
        return
    counts = Counter(str(name) for name in column)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        yield DataProblem(
            "duplicate-id",
            "error",
            "id",
            f"{len(repeated)} ids of the source name several samples.",
            "Find out whether they are copies; joins by id are wrong until then.",
            sum(counts[name] for name in repeated),
            examples(repeated),
        )


def _check_copies(table: SampleTable) -> Iterator[DataProblem]:
    """The same text with the same features twice: across splits the test set is in the training set."""
    members: dict[tuple[object, ...], list[int]] = {}
    for row in range(len(table)):
        keys = tuple(
            item.keys[row].tobytes() if item.present[row] else b"" for item in table.features.values()
        )
        if any(keys) or len(table.text[row]) > 40:
            members.setdefault((table.text[row].strip(), keys), []).append(row)
    groups = [rows for rows in members.values() if len(rows) > 1]
    across = [rows for rows in groups if len({table.split[row] for row in rows}) > 1]
    within = [rows for rows in groups if len({table.split[row] for row in rows}) == 1]
    for code, severity, found, where in (
        ("copy-across-splits", "error", across, "several splits"),
        ("copy-within-split", "warning", within, "one split"),
    ):
        if found:
            ids = [table.id[row] for rows in found for row in rows]
            yield DataProblem(
                code,
                "error" if severity == "error" else "warning",
                "table",
                f"{len(found)} samples stand more than once in {where}, text and features alike.",
                "Keep one of each (msakit store select), or say so beside the results.",
                len(ids),
                examples(ids),
            )


def _check_leaks(table: SampleTable) -> Iterator[DataProblem]:
    columns = table.columns()
    for name, severity in GROUPS.items():
        if name not in columns:
            continue
        splits: dict[str, set[str]] = {}
        for value, split in zip(columns[name], table.split, strict=True):
            splits.setdefault(str(value), set()).add(split)
        shared = sorted(value for value, found in splits.items() if value and len(found) > 1)
        if shared:
            rows = [row for row, value in enumerate(columns[name]) if str(value) in set(shared)]
            first = ", ".join(shared[:3])
            yield DataProblem(
                "split-leak",
                "error" if severity == "error" else "warning",
                name,
                f"{len(shared)} of {len(splits)} values are in more than one split (first {first}).",
                f"Figures flatter an unseen {name}; split by {name}, or say so beside the results.",
                len(rows),
                examples([table.id[row] for row in rows]),
            )


def _check_texts(table: SampleTable, expected: Expectations) -> Iterator[DataProblem]:
    present = np.zeros(len(table), bool)
    for item in table.features.values():
        present |= item.present
    empty = _rows(table, lambda row: not table.text[row].strip())
    silent = [row for row in empty if not present[row]]
    if empty:
        yield _texts(table, "empty-text", empty, "have no text", "Transcribe them or drop them.")
    if silent:
        yield DataProblem(
            "empty-sample",
            "error",
            "table",
            "Samples have neither text nor features.",
            "Drop them: nothing can be learnt from them.",
            len(silent),
            examples([table.id[row] for row in silent]),
        )
    garbled = _rows(table, lambda row: is_garbled(table.text[row]))
    if garbled:
        yield _texts(
            table, "garbled-text", garbled, "were read in a wrong encoding", "Import them again as UTF-8."
        )
    foreign = _rows(table, lambda row: _is_foreign(table, row, expected))
    if foreign:
        yield _texts(
            table,
            "foreign-text",
            foreign,
            "are not in the script of their language",
            "Correct the language or the text.",
        )


def _is_foreign(table: SampleTable, row: int, expected: Expectations) -> bool:
    share = script_share(table.text[row], expected.language or table.language[row])
    return share is not None and share < MIN_SHARE


def _rows(table: SampleTable, wanted: Callable[[int], bool]) -> list[int]:
    return [row for row in range(len(table)) if wanted(row)]


def _texts(table: SampleTable, code: str, rows: Sequence[int], what: str, remedy: str) -> DataProblem:
    ids = examples([table.id[row] for row in rows])
    return DataProblem(
        code, "warning", "text", f"{len(rows)} of {len(table)} texts {what}.", remedy, len(rows), ids
    )


def _check_times(table: SampleTable) -> Iterator[DataProblem]:
    rows = np.flatnonzero(table.end_s <= table.start_s).tolist()
    if rows:
        yield DataProblem(
            "reversed-times",
            "error",
            "start_s, end_s",
            "Segments end before they start.",
            "Correct the times in the source.",
            len(rows),
            examples([table.id[row] for row in rows]),
        )
