"""Sample tables from CSV: MELD dialogues, SIMS label files, and any other once its columns are named."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    VIDEO_SEPARATOR,
    ImportedCorpus,
    read_source,
    read_split_name,
    read_whole_number,
)
from msakit.feature_store.interchange.csv_text import QUOTING_HINT, CsvProblem, read_csv_records
from msakit.feature_store.interchange.mse import split_from_name
from msakit.feature_store.table import Utterance

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "name", "sample_id", "clip_name", "file"),
    "text": ("text", "utterance", "raw_text", "transcript", "sentence"),
    "label": ("label", "emotion", "sentiment", "regression_labels", "score"),
    "split": ("split", "mode", "fold", "set"),
    "speaker": ("speaker", "speaker_id"),
    "dialogue": ("dialogue", "dialogue_id", "conversation_id", "dialog_id"),
    "utterance": ("utterance_id", "utterance_index", "turn"),
    "video": ("video_id", "video"),
    "clip": ("clip_id", "clip"),
    "start": ("start_s", "starttime", "start"),
    "end": ("end_s", "endtime", "end"),
}
"""Meaning -> the column names it is recognised by (case, blanks and dots apart), best first."""
CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)\Z")
_SCENE = ("season", "episode", "scene_id")
MAX_ROWS = 5_000_000
MAX_BYTES = 1 << 29


@dataclass
class CsvRow:
    """One record: where it stands, its split, cells by meaning, and the other cells by normalised name."""

    where: str
    split: str
    cells: dict[str, str]
    others: dict[str, str] = field(default_factory=dict)

    def get(self, meaning: str) -> str:
        """Cell of a meaning, "" when the file has no such column."""
        return self.cells.get(meaning, "")


def read_rows(
    files: Sequence[tuple[str, Path]], columns: Mapping[str, str], default_split: str = ""
) -> tuple[list[CsvRow], list[str]]:
    """Records of one or more CSV files, and notes on how they were read.

    Args:
        files: (split or "", path); without a split the split column decides, then the file's name.
        columns: meaning -> column name, over the aliases.
        default_split: split of rows that nothing else places.

    Raises:
        StoreError: unreadable file, a named column that is not there, or a row without a split.
    """
    rows: list[CsvRow] = []
    notes: list[str] = []
    for split, path in files:
        text, encoding = _read_file(path)
        if encoding != "utf-8-sig":
            notes.append(f"{path}: not UTF-8, read as {encoding}")
        rows.extend(_read_records(path, text, split, columns, default_split))
        if len(rows) > MAX_ROWS:
            raise StoreError(f"{path}: more than {MAX_ROWS:,} rows", "Split the file.")
    return rows, notes


def parse_csv(
    files: Sequence[tuple[str, Path]], columns: Mapping[str, str], default_split: str = ""
) -> tuple[ImportedCorpus, list[CsvRow]]:
    """A corpus of texts and labels, with the records it came from (for joining features by file name).

    Raises:
        StoreError: see `read_rows`; a number that is none, with file and line.
    """
    records, notes = read_rows(files, columns, default_split)
    if not records:
        raise StoreError(f"{files[0][1]}: no data rows", "The first line names the columns, samples follow.")
    numeric = _labels_are_ratings(records)
    repeated = _repeats_across_splits(records)
    rows = [_read_row(record, numeric=numeric, repeated=repeated) for record in records]
    for name in {name for row in rows for name in row.extra}:
        _unify_column(rows, name)
    return ImportedCorpus("csv", rows, {}, notes), records


def _read_file(path: Path) -> tuple[str, str]:
    raw = read_source(path, MAX_BYTES)
    try:
        return raw.decode("utf-8-sig"), "utf-8-sig"
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), "Windows-1252"


def _read_records(
    path: Path, text: str, split: str, columns: Mapping[str, str], default_split: str
) -> Iterator[CsvRow]:
    try:
        names, records = read_csv_records(text, "\t" if path.suffix.lower() == ".tsv" else ",")
        meanings = _assign_columns(names, columns, path)
        taken = set(meanings.values())
        for line, record in records:
            where = f"{path}:{line}"
            cells = {meaning: record[name].strip() for meaning, name in meanings.items()}
            others = {_normalise(name): value.strip() for name, value in record.items() if name not in taken}
            yield CsvRow(where, _find_split(split, cells, path, default_split, where), cells, others)
    except CsvProblem as error:
        raise StoreError(f"{path}:{error.line}: {error.reason}", QUOTING_HINT) from error


def _assign_columns(names: list[str], columns: Mapping[str, str], path: Path) -> dict[str, str]:
    meanings: dict[str, str] = {}
    for meaning, name in columns.items():
        if meaning not in ALIASES:
            raise StoreError(f"--column {meaning}=...: unknown meaning", f"Use one of: {', '.join(ALIASES)}.")
        if name not in names:
            raise StoreError(f"{path}: no column {name!r}", f"It has: {', '.join(names)}.")
        meanings[meaning] = name
    normal = {_normalise(name): name for name in names if name not in meanings.values()}
    for meaning, aliases in ALIASES.items():
        found = next((normal[alias] for alias in aliases if alias in normal), None)
        if meaning not in meanings and found is not None:
            meanings[meaning] = found
    if "text" not in meanings and "label" not in meanings:
        raise StoreError(
            f"{path}: neither a text nor a label column among {', '.join(names) or 'no columns'}",
            "Name them: --column text=NAME --column label=NAME.",
        )
    return meanings


def _normalise(name: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", "_", (name or "").strip().lower()).strip("_")


def _find_split(split: str, cells: Mapping[str, str], path: Path, default: str, where: str) -> str:
    if split:
        return read_split_name(split, where)
    if cells.get("split"):
        return read_split_name(cells["split"], where)
    return default or split_from_name(path)


def _labels_are_ratings(records: list[CsvRow]) -> bool:
    """Whether labels are ratings: numbers, some of them not whole (whole numbers alone are classes)."""
    try:
        values = [float(record.get("label")) for record in records if record.get("label")]
    except ValueError:
        return False
    return any(not value.is_integer() or value < 0 for value in values if math.isfinite(value))


def _dialogue_of(record: CsvRow) -> str:
    """The dialogue's name; where there is none, season, episode and scene make one (EmoryNLP)."""
    scene = [record.others.get(name, "") for name in _SCENE]
    return record.get("dialogue") or ("-".join(scene) if all(scene) else "")


def _repeats_across_splits(records: list[CsvRow]) -> bool:
    """Whether dialogue numbers start afresh in each split (MELD), so that only with it they are unique."""
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(_dialogue_of(record), set()).add(record.split)
    return any(len(found) > 1 for name, found in splits.items() if name)


def _read_row(record: CsvRow, *, numeric: bool, repeated: bool) -> Utterance:
    dialogue = _dialogue_of(record)
    if dialogue and repeated:
        dialogue = f"{record.split}-{dialogue}"
    row = Utterance(id=_read_id(record, dialogue), split=record.split, text=record.get("text"))
    row.speaker, row.dialogue = record.get("speaker"), dialogue
    if numeric:
        row.label = _read_float(record, "label")
    else:
        row.label_name = record.get("label")
    row.utterance = read_whole_number(_read_float(record, "utterance"), f"{record.where}: utterance")
    row.start_s, row.end_s = _read_time(record, "start"), _read_time(record, "end")
    row.extra = dict(record.others)
    if record.get("video"):
        row.extra["video"] = record.get("video")
    return row


def _read_id(record: CsvRow, dialogue: str) -> str:
    if record.get("id"):
        return record.get("id")
    if record.get("video") and record.get("clip"):
        return VIDEO_SEPARATOR.join((record.get("video"), record.get("clip")))
    if dialogue and record.get("utterance"):
        return f"{dialogue}-{record.get('utterance')}"
    return f"{record.split}-{record.where.rpartition(':')[2]}"


def _read_float(record: CsvRow, meaning: str) -> float:
    cell = record.get(meaning)
    try:
        return float(cell) if cell else math.nan
    except ValueError as error:
        raise StoreError(
            f"{record.where}: {meaning} {cell!r} is not a number", "Correct the cell."
        ) from error


def _read_time(record: CsvRow, meaning: str) -> float:
    """Seconds, from seconds or a subtitle clock such as 00:16:16,059."""
    clock = CLOCK.match(record.get(meaning))
    if clock is None:
        return _read_float(record, meaning)
    hours, minutes, seconds = clock.groups()
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds.replace(",", "."))


def _unify_column(rows: list[Utterance], name: str) -> None:
    """Make an extra column numeric where every filled cell is a number."""
    cells = [str(row.extra.get(name, "")) for row in rows]
    try:
        numbers = [float(cell) if cell else math.nan for cell in cells]
    except ValueError:
        numbers = []
    filled = any(not math.isnan(number) for number in numbers)
    values: Sequence[str | float] = numbers if filled else cells
    for row, value in zip(rows, values, strict=True):
        row.extra[name] = value
