"""The predictions table: what an evaluation makes, predictions.<split>.csv holds and everything else reads.

Columns: `id`, `label`, `prediction` (class names for classification, empty where missing), `generated` when
text was generated, `absent` (streams the sample was predicted without), `dialogue`, `video` and `speaker`
where known, `p:<answer>` probabilities, `d:<diagnostic>` and `d:<diagnostic>[i]`. What is too large for a
table, such as attention maps, is in diagnostics.<split>.npz for some samples.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import DataError, InputError
from msakit.core.files import read_text
from msakit.core.spreadsheet import disarm, rearm

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = ("dialogue", "video", "speaker")
"""Groups a sample may belong to; a bootstrap resamples the first one that is known."""

_TEXTS = {"id", "generated", *GROUPS}

LIKELIEST = 3
LARGEST_TABLE = 256 * 2**20
MOST_COLUMNS = 20_000
MOST_ENTRIES = 4096
_DIAGNOSTIC = re.compile(r"d:(?P<name>.+?)(?:\[(?P<index>[0-9]{1,18}(?:, ?[0-9]{1,18})*)\])?\Z")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the table, in words.

    Attributes:
        id: The clip or sample.
        prediction: The score, or the class name; None where generated text could not be read.
        likeliest: The most probable answers with their probabilities, best first.
        generated: What was generated, when it was.
        absent: Streams the sample does not have.
    """

    id: str
    prediction: float | str | None
    likeliest: list[tuple[str, float]]
    generated: str | None
    absent: list[str]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions for N samples.

    Attributes:
        ids: N sample ids.
        labels: [N] scores or class indices; NaN where a sample has none.
        values: [N] predicted scores or class indices; NaN where there is none.
        label_names: Class names in index order (classification).
        answers: The A answers `probabilities` are of.
        probabilities: [N, A], or None where text was generated.
        generated: N generated texts, or None where answers were scored.
        absent: The streams each of the N samples was predicted without.
        groups: "dialogue", "video", "speaker": N names each, "" where unknown; those that are known.
        diagnostics: Name to small diagnostics [N, ...]; NaN where a sample has none.
    """

    ids: tuple[str, ...]
    labels: Floats
    values: Floats
    label_names: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    probabilities: Floats | None = None
    generated: tuple[str, ...] | None = None
    absent: tuple[tuple[str, ...], ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    diagnostics: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    def rows(self) -> Iterator[Answer]:
        """The samples one by one, in words."""
        for index, sample in enumerate(self.ids):
            value = float(self.values[index])
            likeliest: list[tuple[str, float]] = []
            if self.probabilities is not None:
                row = self.probabilities[index]
                likeliest = [(self.answers[at], float(row[at])) for at in np.argsort(-row)[:LIKELIEST]]
            yield Answer(
                sample,
                self._shown(value),
                likeliest,
                self.generated[index] if self.generated else None,
                list(self.absent[index]) if self.absent else [],
            )

    def _shown(self, value: float) -> float | str | None:
        if math.isnan(value):
            return None
        return self.label_names[int(value)] if self.label_names else round(value, 4)

    def reordered(self, order: Sequence[int]) -> Predictions:
        """The same table with its rows in another order, or some of them."""

        def pick(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[index] for index in order)

        rows = np.asarray(order, np.int64)
        return Predictions(
            ids=pick(self.ids),
            labels=self.labels[rows],
            values=self.values[rows],
            label_names=self.label_names,
            answers=self.answers,
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            generated=None if self.generated is None else pick(self.generated),
            absent=pick(self.absent) if self.absent else (),
            groups={name: pick(names) for name, names in self.groups.items()},
            diagnostics={name: values[rows] for name, values in self.diagnostics.items()},
        )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Tables of one pipeline, one below the other."""
    first = parts[0]
    return Predictions(
        ids=tuple(sample for part in parts for sample in part.ids),
        labels=np.concatenate([part.labels for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        label_names=first.label_names,
        answers=first.answers,
        probabilities=None
        if first.probabilities is None
        else np.concatenate([part.probabilities for part in parts if part.probabilities is not None]),
        generated=None
        if first.generated is None
        else tuple(text for part in parts for text in part.generated or ()),
        absent=tuple(streams for part in parts for streams in part.absent),
        groups={name: tuple(one for part in parts for one in part.groups[name]) for name in first.groups},
        diagnostics={
            name: np.concatenate([part.diagnostics[name] for part in parts]) for name in first.diagnostics
        },
    )


# Writing


def to_csv(found: Predictions) -> str:
    """The text of predictions.<split>.csv."""
    columns: dict[str, Sequence[str]] = {
        "id": found.ids,
        "label": _shown(found.labels, found.label_names),
        "prediction": _shown(found.values, found.label_names),
    }
    if found.generated is not None:
        columns["generated"] = found.generated
    if any(found.absent):
        columns["absent"] = [" ".join(streams) for streams in found.absent]
    columns |= {name: found.groups[name] for name in GROUPS if name in found.groups}
    if found.probabilities is not None:
        columns |= {
            f"p:{name}": _numbers(found.probabilities[:, index]) for index, name in enumerate(found.answers)
        }
    for name, values in found.diagnostics.items():
        for index in np.ndindex(values.shape[1:]):
            key = f"d:{name}[{','.join(map(str, index))}]" if index else f"d:{name}"
            columns[key] = _numbers(values[:, *index])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    safe = {name: [*map(disarm, cells)] if name in _TEXTS else cells for name, cells in columns.items()}
    writer.writerow(safe)
    writer.writerows(zip(*safe.values(), strict=True))
    return buffer.getvalue()


def _shown(values: Floats, names: tuple[str, ...]) -> list[str]:
    if not names:
        return ["" if math.isnan(value) else f"{value:.10g}" for value in values.tolist()]
    return ["" if math.isnan(value) else names[int(value)] for value in values.tolist()]


def _numbers(values: Floats) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.6g}" for value in values.tolist()]


# Reading


def read_predictions(path: Path, label_names: tuple[str, ...] = ()) -> Predictions:
    """Read a predictions.<split>.csv.

    Args:
        path: The file.
        label_names: Class names in index order (classification).

    Raises:
        InputError: It is no such table.
        DataError: A cell that should hold a number holds something else.
    """
    columns = _columns(path)
    try:
        answers = tuple(key.removeprefix("p:") for key in columns if key.startswith("p:"))
        return Predictions(
            ids=columns["id"],
            labels=_column(columns["label"], label_names),
            values=_column(columns["prediction"], label_names),
            label_names=label_names,
            answers=answers,
            probabilities=np.stack([_column(columns[f"p:{answer}"]) for answer in answers], axis=1)
            if answers
            else None,
            generated=columns.get("generated"),
            absent=tuple(tuple(cell.split()) for cell in columns.get("absent", ())),
            groups={name: columns[name] for name in GROUPS if name in columns},
            diagnostics=_diagnostics(columns),
        )
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: {error}.") from error


def _columns(path: Path) -> dict[str, tuple[str, ...]]:
    """Every column's cells, by its heading."""
    text = read_text(path, limit=LARGEST_TABLE)
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file: {error}") from error
    if missing := [name for name in ("id", "label", "prediction") if name not in header]:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}.")
    if len(header) > MOST_COLUMNS or len(set(header)) < len(header):
        raise InputError(f"{path} has {len(header):,} columns, too many, or two of one name.")
    if ragged := [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]:
        raise InputError(f"{path}, line {ragged[0]}: {len(header)} cells are expected.")
    cells = zip(*rows, strict=True) if rows else ((),) * len(header)
    columns = dict(zip(header, cells, strict=True))
    return {name: tuple(map(rearm, texts)) if name in _TEXTS else texts for name, texts in columns.items()}


def _column(cells: tuple[str, ...], names: tuple[str, ...] = ()) -> Floats:
    """Numbers [N] of cells that hold numbers, class names, or nothing (NaN)."""
    index = {name: str(position) for position, name in enumerate(names)}
    values = np.array([float(index.get(cell, cell) or "nan") for cell in cells], dtype=np.float64)
    known = np.isnan(values) | np.isin(values, np.arange(len(names)))
    if names and not known.all():
        msg = f"{cells[int(np.argmin(known))]!r} is no class; they are {', '.join(names)}"
        raise ValueError(msg)
    return values


def _diagnostics(columns: Mapping[str, tuple[str, ...]]) -> dict[str, Floats]:
    """Columns `d:alpha[0]`, `d:map[0,3]`, `d:entropy` put together as arrays [N, ...]."""
    parts: dict[str, dict[tuple[int, ...], Floats]] = {}
    for key, cells in columns.items():
        if match := _DIAGNOSTIC.match(key):
            index = tuple(int(part) for part in (match["index"] or "").split(",") if part)
            parts.setdefault(match["name"], {})[index] = _column(cells)
    return {name: _array(name, entries) for name, entries in parts.items()}


def _array(name: str, entries: Mapping[tuple[int, ...], Floats]) -> Floats:
    """Entries by their index as one array [N, ...]."""
    if len({len(index) for index in entries}) != 1:
        msg = f"the columns of the diagnostic '{name}' have indices of different lengths"
        raise ValueError(msg)
    shape = [max(places) + 1 for places in zip(*entries, strict=True)]
    if math.prod(shape) > MOST_ENTRIES:
        msg = f"the diagnostic '{name}' claims {math.prod(shape):,} entries, more than {MOST_ENTRIES:,}"
        raise ValueError(msg)
    array = np.full((len(next(iter(entries.values()))), *shape), np.nan)
    for index, values in entries.items():
        place: tuple[Any, ...] = (slice(None), *index)
        array[place] = values
    return array
