"""MMSA feature pickles: MOSI, MOSEI, SIMS, SIMS-V2, and the MultiBench variant (`{split: {key: column}}`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    SPLIT_ALIASES,
    SPLITS,
    VIDEO_SEPARATOR,
    ImportedCorpus,
    ImportedRow,
    read_id,
    read_number,
    read_split_name,
    read_text,
    read_whole_number,
)
from msakit.feature_store.interchange.sequences import (
    NUMERIC_KINDS,
    SequenceColumn,
    SpanTable,
    read_lengths,
    read_sequences,
    spans_by_length,
    spans_by_zeros,
)

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


def is_mmsa(tree: object) -> bool:
    """Whether a decoded pickle is `{split: {key: column}}`."""
    if not isinstance(tree, dict):
        return False
    splits = [value for key, value in tree.items() if str(key).lower() in SPLIT_ALIASES]
    return bool(splits) and all(isinstance(value, dict) for value in splits)


def parse_mmsa(
    tree: object, where: str, overrides: Mapping[str, tuple[object, str]] | None = None
) -> ImportedCorpus:
    """Interpret a decoded MMSA pickle.

    Args:
        tree: what `sandbox.load_pickle` returned.
        where: the file's name, for messages.
        overrides: modality -> (decoded pickle, its name) whose features replace the main file's, joined by id
            where both have ids and by position otherwise (MMSA's `feature_T`, `feature_A`, `feature_V`).

    Raises:
        StoreError: a key is missing or two columns disagree; the message names file, split and key.
    """
    splits = _read_splits(tree, where)
    replaced = {
        name: _read_splits(other, other_where) for name, (other, other_where) in (overrides or {}).items()
    }
    sources = {name: other_where for name, (_, other_where) in (overrides or {}).items()}
    corpus = ImportedCorpus("mmsa", [], {})
    tables: dict[str, SpanTable] = {}
    for split, data in splits.items():
        place = f"{where}: {split}"
        rows = _read_rows(data, split, place)
        columns, lengths = _read_columns(data, place)
        for name, other in replaced.items():
            if split not in other:
                raise StoreError(
                    f"{sources[name]}: has no split {split!r}", f"{where} has it; override every split."
                )
            found, found_lengths = _read_columns(other[split], f"{sources[name]}: {split}")
            if name not in found:
                raise StoreError(
                    f"{sources[name]}: {split} has no key {name!r}", f"It has: {_names(other[split])}."
                )
            order = _match_rows(other[split], rows, f"{sources[name]}: {split}")
            columns[name] = _reorder(found[name], order)
            lengths.pop(name, None)
            if name in found_lengths:
                count = found[name].num_rows
                lengths[name] = read_lengths(found_lengths[name], count, found[name].where)[order]
        _check_counts(columns, len(rows), place)
        _append(tables, columns, lengths, split, num_before=len(corpus.rows), source=where, sources=sources)
        corpus.rows.extend(rows)
        for table in tables.values():
            if split not in table.padding:
                table.add_missing(len(rows))
        used = {*SCALAR_KEYS, "text_bert", *columns, *(f"{name}_lengths" for name in columns)}
        corpus.ignored.extend(f"{split}.{key}" for key in data if key not in used)
    corpus.modalities = {name: table.as_modality() for name, table in tables.items()}
    return corpus


def _read_splits(tree: object, where: str) -> dict[str, SplitData]:
    if not is_mmsa(tree) or not isinstance(tree, dict):
        found = _names(tree) if isinstance(tree, dict) else type(tree).__name__
        raise StoreError(
            f"{where}: not an MMSA file: expected train, valid and test, found {found}", "Check --format."
        )
    splits: dict[str, SplitData] = {}
    for key, value in tree.items():
        split = read_split_name(key, where)
        if not isinstance(value, dict) or split in splits:
            raise StoreError(
                f"{where}: the key {key!r} is not one split of data", "Each split is one dictionary."
            )
        splits[split] = value
    return {split: splits[split] for split in SPLITS if split in splits}


def _read_rows(data: SplitData, split: str, place: str) -> list[ImportedRow]:
    count = _count_rows(data, place)
    ids = _read_list(data, "id", count, place)
    texts = _read_list(data, "raw_text", count, place)
    rows = []
    for number in range(count):
        name = read_id(ids[number]) if ids else f"{split}-{number:05d}"
        rows.append(ImportedRow(id=name, split=split, text=read_text(texts[number]) if texts else ""))
        if VIDEO_SEPARATOR in name:
            rows[-1].columns["video"] = name.split(VIDEO_SEPARATOR)[0]
    _read_labels(data, rows, place)
    _read_own_columns(data, rows, place)
    return rows


def _read_own_columns(data: SplitData, rows: list[ImportedRow], place: str) -> None:
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
                row.columns[str(name)] = value if isinstance(value, int | float) else read_text(value)


def _read_labels(data: SplitData, rows: list[ImportedRow], place: str) -> None:
    regression = next((key for key in ("regression_labels", "labels") if key in data), None)
    if regression is None and "classification_labels" not in data:
        raise StoreError(
            f"{place} has no labels",
            f"Expected one of {', '.join(LABEL_KEYS)}; the split has: {_names(data)}.",
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
            rows[number].columns[column] = cell


def _read_class(value: object) -> str:
    """A class label as text: whole floats lose their ".0" and a missing one is empty."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
        value = value[0] if len(value) == 1 else value
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    return read_text(value)


def _count_rows(data: SplitData, place: str) -> int:
    for key in ("id", "raw_text", *LABEL_KEYS, *SEQUENCE_KEYS):
        items = _items(data.get(key))
        if items is not None:
            return len(items)
    raise StoreError(f"{place} holds no samples", f"The split has: {_names(data)}.")


def _read_list(data: SplitData, key: str, count: int, place: str) -> list[Any]:
    if key not in data:
        return []
    items = _items(data[key])
    if items is None or len(items) != count:
        found = "no" if items is None else len(items)
        raise StoreError(
            f"{place}.{key} has {found} entries for {count} samples", "The file is inconsistent."
        )
    return items


def _items(value: object) -> list[Any] | None:
    """Entries of a column, or None for what is no column."""
    if isinstance(value, np.ndarray):
        return list(value) if value.ndim else None
    return value if isinstance(value, list) else None


def _read_columns(data: SplitData, place: str) -> tuple[dict[str, SequenceColumn], dict[str, Any]]:
    others = [key for key, value in data.items() if key not in SCALAR_KEYS and _is_padded(value)]
    keys = [key for key in (*SEQUENCE_KEYS, *others) if key in data and key != "text_bert"]
    columns = {key: read_sequences(data[key], f"{place}.{key}") for key in dict.fromkeys(keys)}
    lengths = {key: data[f"{key}_lengths"] for key in columns if f"{key}_lengths" in data}
    if "text_bert" in data:
        tokens = read_sequences(data["text_bert"], f"{place}.text_bert")
        columns["text_bert"] = _transpose(tokens)
        masks = [
            _count_mask(tokens.get(number), f"{place}.text_bert[{number}]")
            for number in range(tokens.num_rows)
        ]
        lengths["text_bert"] = np.array(masks, dtype=np.int64)
        lengths.setdefault("text", lengths["text_bert"])
    return columns, lengths


def _is_padded(value: object) -> bool:
    """Whether a value is a padded array [N, T, D]: then it is a modality, whatever its key."""
    return isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype.kind in NUMERIC_KINDS


def _transpose(tokens: SequenceColumn) -> SequenceColumn:
    """text_bert is [N, 3, L]; as a sequence it is [L, 3]: token id, attention mask, token type."""
    return SequenceColumn(tokens.where, tokens.num_rows, lambda number: tokens.get(number).T, tokens.dtype)


def _count_mask(tokens: Any, where: str) -> int:
    if tokens.shape[0] != 3:
        raise StoreError(
            f"{where}: expected 3 rows (ids, mask, types), found {tokens.shape[0]}", "Check the file."
        )
    return int(np.count_nonzero(tokens[1]))


def _match_rows(data: SplitData, rows: list[ImportedRow], place: str) -> Any:
    """Position in an override file of every row of the main file."""
    if "id" not in data:
        if _count_rows(data, place) != len(rows):
            raise StoreError(
                f"{place} has another number of samples and no ids to join by", "Add the key 'id'."
            )
        return np.arange(len(rows))
    position = {read_id(value): number for number, value in enumerate(_items(data["id"]) or [])}
    missing = [row.id for row in rows if row.id not in position]
    if missing:
        raise StoreError(
            f"{place} lacks {len(missing)} samples, first {missing[:3]}", "Override every sample."
        )
    return np.array([position[row.id] for row in rows], dtype=np.int64)


def _reorder(column: SequenceColumn, order: Any) -> SequenceColumn:
    return SequenceColumn(
        column.where, len(order), lambda number: column.get(int(order[number])), column.dtype
    )


def _check_counts(columns: Mapping[str, SequenceColumn], count: int, place: str) -> None:
    for name, column in columns.items():
        if column.num_rows != count:
            raise StoreError(
                f"{place}.{name} has {column.num_rows} entries for {count} samples", "The file is torn."
            )


def _append(
    tables: dict[str, SpanTable],
    columns: Mapping[str, SequenceColumn],
    lengths: Mapping[str, Any],
    split: str,
    *,
    num_before: int,
    source: str,
    sources: Mapping[str, str],
) -> None:
    """Add the sequences of one split to the tables, new tables starting with the samples that lacked them."""
    unmeasured = {name: column for name, column in columns.items() if name not in lengths and name != "text"}
    spans = spans_by_zeros(unmeasured)
    for name, column in columns.items():
        if name in lengths:
            spans[name] = spans_by_length(column, lengths[name])
        elif name not in spans:
            spans |= spans_by_zeros({name: column})
        if name not in tables:
            tables[name] = SpanTable(name, sources.get(name, source))
            tables[name].add_missing(num_before)
        tables[name].add(split, column, spans[name])


def _names(data: Mapping[Any, Any]) -> str:
    return ", ".join(str(key) for key in list(data)[:20])
