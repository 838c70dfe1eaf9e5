"""Manifests: which clips there are, what is said in them and how they are labelled (CSV or JSON lines)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msakit.core.errors import ConfigError, InputError, MediaError
from msakit.core.files import parse_json, read_text
from msakit.core.interfaces import MediaClip
from msakit.extraction.layouts import in_our_columns, is_known
from msakit.feature_store.interchange.csv_text import QUOTING_HINT, CsvProblem, read_csv_records
from msakit.feature_store.interchange.table_csv import CLOCK
from msakit.feature_store.table import NO_UTTERANCE, SPLITS, Utterance

_TEXT = ("id", "path", "text", "split", "label_name", "speaker", "dialogue", "language")
_NUMBERS = ("label", "start_s", "end_s", "utterance")
_TIMES = ("start_s", "end_s")
_TAKEN = ("content", "text_by")  # columns that extraction fills
_MAX_PROBLEMS = 20
_MAX_BYTES = 1 << 28
_MAX_UTTERANCE = 1 << 31


@dataclass
class ManifestRow(Utterance):
    """One line of a manifest: an utterance and the media file it is spoken in.

    Attributes:
        path: The media file.
        split: "" for clips that are only to be predicted.
        extra: Every further column: numbers where all of a column's values are, else text.
    """

    path: Path = field(kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a segment that is empty or reversed."""
        _ = self.clip

    @property
    def clip(self) -> MediaClip:
        """Its media, as extractors take it."""
        start, end = (None if math.isnan(time) else time for time in (self.start_s, self.end_s))
        return MediaClip(self.path, self.id, self.text, start, end)


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a manifest; paths in it are relative to it.

    Columns: `id` and `path` (required), `text`, `label` (a number), `label_name` (a class), `split`,
    `speaker`, `dialogue`, `utterance`, `language`, `start_s`, `end_s`. Other columns are kept as they are.
    Tables of MMSA-FET and MELD are read as they are (`msakit.extraction.layouts`).

    Raises:
        ConfigError: Lists every problem with its line.
        InputError: The file cannot be read, or is empty.
    """
    problems: list[tuple[str, str]] = []
    rows: list[ManifestRow] = []
    records = [(line, in_our_columns(record, path)) for line, record in _records(path)]
    numeric = _numeric_columns([record for _, record in records])
    seen: dict[str, int] = {}
    for line, record in records:
        try:
            row = _row(record, path.parent, numeric)
        except (ValueError, MediaError) as error:
            problems.append((f"line {line}", getattr(error, "message", str(error))))
            continue
        if row.id in seen:
            problems.append((f"line {line}", f"id '{row.id}' was used in line {seen[row.id]}"))
        seen.setdefault(row.id, line)
        rows.append(row)
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        shown = problems[:_MAX_PROBLEMS] + ([("...", f"{more} more")] if more > 0 else [])
        raise ConfigError(str(path), shown, hint="docs/extraction.md describes the columns.")
    if not rows:
        raise InputError(
            f"{path}: no clips in the manifest", hint="It needs at least one row below the header."
        )
    return rows


def _records(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    text = read_text(path, limit=_MAX_BYTES).removeprefix("\ufeff")
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return _json_records(path, text)
    return _csv_records(path, text)


def _csv_records(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    try:
        names, records = read_csv_records(text)
        if not is_known(frozenset(names)) and (missing := {"id", "path"} - set(names)):
            problem = f"no column '{sorted(missing)[0]}'"
            hint = "The columns id and path are required, or those of MMSA-FET's or MELD's tables."
            raise ConfigError(str(path), [("line 1", problem)], hint=hint)
        return list(records)
    except CsvProblem as error:
        raise ConfigError(str(path), [(f"line {error.line}", error.reason)], hint=QUOTING_HINT) from error


def _json_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split("\n"), start=1):  # U+2028 and the like may stand in a text
        if not content.strip():
            continue
        try:
            record = parse_json(content)
        except ValueError as error:
            raise ConfigError(str(path), [(f"line {line}", f"not JSON: {error}")]) from error
        if not isinstance(record, dict):
            raise ConfigError(str(path), [(f"line {line}", "not a JSON object")])
        yield line, record


def _numeric_columns(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """Extra columns in which every value is a number."""
    numeric: dict[str, bool] = {}
    for record in records:
        for name in record.keys() - {*_TEXT, *_NUMBERS}:
            numeric[name] = numeric.get(name, True) and _number(record[name]) is not None
    return {name for name, every in numeric.items() if every}


def _number(value: Any) -> float | None:
    """A number, or text that is one; true and false are neither."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _row(record: Mapping[str, Any], folder: Path, numeric: set[str]) -> ManifestRow:
    texts = {name: str(record.get(name) or "").strip() for name in _TEXT}
    numbers = {name: _read_number(name, record[name]) for name in _NUMBERS if _is_given(record.get(name))}
    for name in ("id", "path"):
        if not texts[name]:
            msg = f"'{name}' is empty"
            raise ValueError(msg)
    path = texts.pop("path")
    if texts["split"] not in (*SPLITS, ""):
        msg = f"split '{texts['split']}' is none of {', '.join(SPLITS)} (dev and val are called valid)"
        raise ValueError(msg)
    if taken := [name for name in _TAKEN if name in record]:
        msg = f"the column '{taken[0]}' is filled by extraction; give it another name"
        raise ValueError(msg)
    utterance = numbers.pop("utterance", float(NO_UTTERANCE))
    if not (utterance.is_integer() and NO_UTTERANCE <= utterance < _MAX_UTTERANCE):
        msg = f"utterance {utterance:g} is not a position in a dialogue: 0, 1, 2, ..."
        raise ValueError(msg)
    extra = {name: value for name, value in record.items() if name not in (*_TEXT, *_NUMBERS)}
    known: dict[str, Any] = {**texts, **numbers}
    return ManifestRow(
        **known,
        path=folder / path,
        utterance=int(utterance),
        extra={
            name: float(str(value)) if name in numeric else ("" if value is None else str(value))
            for name, value in sorted(extra.items())
        },
    )


def _seconds(value: Any) -> float | None:
    """Seconds of a number, or of a time such as 00:01:02,500 or 1:02."""
    number = _number(value)
    if number is None and (clock := CLOCK.match(str(value).strip())):
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    return number


def _is_given(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _read_number(name: str, value: Any) -> float:
    number = _seconds(value) if name in _TIMES else _number(value)
    if number is None or not math.isfinite(number):
        hint = "; class names belong in label_name" if name == "label" else ""
        msg = f"{name} '{value}' is not a number{hint}"
        raise ValueError(msg)
    return number
