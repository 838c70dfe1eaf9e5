"""MSE-Adapter pickles for MELD, CHERMA and IEMOCAP: one list of `{features: {...}, label}` per split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    SPLIT_ALIASES,
    ImportedCorpus,
    read_number,
    read_split_name,
    read_text,
    read_whole_number,
)
from msakit.feature_store.interchange.sequences import (
    SequenceColumn,
    SpanTable,
    read_matrix,
    spans_by_length,
    spans_by_zeros,
)
from msakit.feature_store.table import Utterance

MODALITY_KEYS = {"audio": ("audio",), "vision": ("video", "vision")}
TEXT_KEYS = ("text", "raw_text")
FEATURE_KEYS = {"text", "raw_text", "audio", "video", "vision", "audio_len", "video_len", "vision_len"}
ROW_KEYS = {"features", "label", "id", "speaker", "dialogue", "utterance"}


def is_mse(tree: object) -> bool:
    """Whether a decoded pickle is a list of samples, or `{split: list of samples}`."""
    if isinstance(tree, dict):
        lists = [value for key, value in tree.items() if str(key).lower() in SPLIT_ALIASES]
        return bool(lists) and all(is_mse(value) for value in lists)
    return isinstance(tree, list) and bool(tree) and isinstance(tree[0], dict) and "features" in tree[0]


def split_from_name(path: Path) -> str:
    """Split that a file name tells: `meld_train.pkl` is train.

    Raises:
        StoreError: the name holds no split, or several.
    """
    words = path.stem.lower().replace("-", "_").replace(".", "_").split("_")
    found = {SPLIT_ALIASES[word] for word in words if word in SPLIT_ALIASES}
    if len(found) != 1:
        raise StoreError(f"{path}: its name does not tell which split it holds", f"Write it as train={path}.")
    return found.pop()


def parse_mse(parts: Sequence[tuple[str, object, str]]) -> ImportedCorpus:
    """Interpret decoded MSE-Adapter pickles.

    Args:
        parts: (split or "" for a file that names its splits itself, decoded pickle, file name) of each file.

    Raises:
        StoreError: a sample lacks a key or two files hold one split; names file and sample.
    """
    corpus = ImportedCorpus("mse", [], {})
    tables = {name: SpanTable(name, ", ".join(where for _, _, where in parts)) for name in MODALITY_KEYS}
    seen: set[str] = set()
    for split, samples, where in _flatten(parts):
        if split in seen:
            raise StoreError(f"{where}: the split {split!r} comes twice", "Give each split once.")
        seen.add(split)
        rows = [
            _read_row(sample, split, number, f"{where}[{number}]") for number, sample in enumerate(samples)
        ]
        for name, table in tables.items():
            _append(table, samples, name, split, where)
        corpus.rows.extend(rows)
        corpus.ignored.extend(f"{split}.{key}" for key in _unknown_keys(samples))
    corpus.modalities = {name: table.as_modality() for name, table in tables.items() if table.padding}
    return corpus


def _flatten(parts: Sequence[tuple[str, object, str]]) -> list[tuple[str, list[dict[str, Any]], str]]:
    flat: list[tuple[str, list[dict[str, Any]], str]] = []
    for split, tree, where in parts:
        if not is_mse(tree):
            raise StoreError(
                f"{where}: not an MSE-Adapter file: expected a list of samples with 'features' and 'label'",
                "Check --format.",
            )
        named: dict[str, Any] = tree if isinstance(tree, dict) else {split: tree}
        flat += [(read_split_name(key, where), samples, where) for key, samples in named.items()]
    order = ("train", "valid", "test")
    return sorted(flat, key=lambda item: order.index(item[0]))


def _read_row(sample: object, split: str, number: int, where: str) -> Utterance:
    if not isinstance(sample, dict) or not isinstance(sample.get("features"), dict):
        raise StoreError(f"{where}: the sample has no 'features' dictionary", "Every sample needs one.")
    if "label" not in sample:
        raise StoreError(f"{where}: the sample has no 'label'", "Every sample needs one.")
    features: Mapping[str, Any] = sample["features"]
    text = next((features[key] for key in TEXT_KEYS if isinstance(features.get(key), str | bytes | list)), "")
    row = Utterance(
        id=read_text(sample.get("id", f"{split}-{number:05d}")), split=split, text=read_text(text)
    )
    row.label, row.label_name = read_label(sample["label"], f"{where}.label")
    row.speaker = read_text(sample.get("speaker", ""))
    row.dialogue = read_text(sample.get("dialogue", ""))
    if "utterance" in sample:
        row.utterance = read_whole_number(sample["utterance"], f"{where}.utterance")
    return row


def read_label(value: object, where: str) -> tuple[float, str]:
    """(regression label, class name): text and whole numbers are classes, other floats are ratings."""
    if isinstance(value, np.ndarray):
        value = read_number(value, where)
    if isinstance(value, float):
        return value, ""
    return math.nan, read_text(value)


def _append(table: SpanTable, samples: list[dict[str, Any]], name: str, split: str, where: str) -> None:
    key = next(
        (key for key in MODALITY_KEYS[name] if any(key in sample["features"] for sample in samples)), None
    )
    if key is None:
        table.add_missing(len(samples))
        return
    for number, sample in enumerate(samples):
        if key not in sample["features"]:
            raise StoreError(
                f"{where}[{number}]: the sample has no {key!r} features", "Give zeros where it is missing."
            )
    matrices = [
        read_matrix(s["features"][key], f"{where}[{number}].{key}") for number, s in enumerate(samples)
    ]
    column = SequenceColumn(f"{where}.{key}", len(matrices), matrices.__getitem__, matrices[0].dtype.str)
    lengths = [s["features"].get(f"{key}_len") for s in samples]
    if all(length is not None for length in lengths):
        numbers = np.array([read_number(length, f"{where}.{key}_len") for length in lengths])
        spans = spans_by_length(column, numbers)
    else:
        spans = spans_by_zeros({name: column})[name]
    table.add(split, column, spans)


def _unknown_keys(samples: list[dict[str, Any]]) -> list[str]:
    keys = {str(key) for sample in samples for key in sample if key not in ROW_KEYS}
    inner = {f"features.{key}" for sample in samples for key in sample["features"] if key not in FEATURE_KEYS}
    return sorted(keys | inner)
