"""MMSA feature pickles: MOSI, MOSEI, SIMS, SIMS-V2, and the MultiBench variant (`{split: {key: column}}`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    SPLIT_ALIASES,
    ImportedCorpus,
    read_id,
    read_split_name,
)
from msakit.feature_store.interchange.mmsa_rows import (
    SCALAR_KEYS,
    SEQUENCE_KEYS,
    SplitData,
    as_items,
    count_rows,
    name_keys,
    read_rows,
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
from msakit.feature_store.table import SPLITS, Utterance


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
        rows = read_rows(data, split, place)
        columns, lengths = _read_columns(data, place)
        for name, other in replaced.items():
            if split not in other:
                raise StoreError(
                    f"{sources[name]}: has no split {split!r}", f"{where} has it; override every split."
                )
            lengths.pop(name, None)
            columns[name], other_lengths = _override(name, other[split], rows, f"{sources[name]}: {split}")
            lengths |= other_lengths
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
        found = name_keys(tree) if isinstance(tree, dict) else type(tree).__name__
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


def _match_rows(data: SplitData, rows: list[Utterance], place: str) -> Any:
    """Position in an override file of every row of the main file."""
    if "id" not in data:
        if count_rows(data, place) != len(rows):
            raise StoreError(
                f"{place} has another number of samples and no ids to join by", "Add the key 'id'."
            )
        return np.arange(len(rows))
    position = {read_id(value): number for number, value in enumerate(as_items(data["id"]) or [])}
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


def _override(
    name: str, data: SplitData, rows: list[Utterance], place: str
) -> tuple[SequenceColumn, dict[str, Any]]:
    """Sequences of one modality from another file, in the order of `rows`, with lengths if it has any."""
    found, lengths = _read_columns(data, place)
    if name not in found:
        raise StoreError(f"{place} has no key {name!r}", f"It has: {name_keys(data)}.")
    order, column = _match_rows(data, rows, place), found[name]
    kept = {}
    if name in lengths:
        kept[name] = read_lengths(lengths[name], column.num_rows, column.where)[order]
    return _reorder(column, order), kept


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
