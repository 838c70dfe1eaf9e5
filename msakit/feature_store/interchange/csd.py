"""CMU-MultimodalSDK computational sequences, several of them joined by labelled segment.

A sequence is keyed by video (`03bSnISJMiM`) or, once aligned, by segment (`03bSnISJMiM[4]`). The labels tell
the utterances: one row of a video's labels is one segment, and of the other sequences of that video it takes
the frames whose middle lies inside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    VIDEO_SEPARATOR,
    Array,
    ImportedCorpus,
    ImportedModality,
    Intervals,
    read_text,
)
from msakit.feature_store.interchange.sandbox import SandboxLimits, load_sandboxed
from msakit.feature_store.table import Utterance

_CHILD = "msakit.feature_store.interchange.csd_child"
SEGMENT_KEY = re.compile(r"(?P<video>.+)\[(?P<number>\d+)\]\Z")
# The SDK's template lacks a comma, which glued two keys into one; files in circulation have either spelling.
DIMENSION_KEYS = ("dimension names", "dimension namescomputational sequence version")
ROLE_WORDS = {
    "labels": ("label", "opinion", "sentiment"),
    "words": ("word", "transcript"),
    "audio": ("covarep", "opensmile", "acoustic", "audio"),
    "vision": ("facet", "openface", "visual", "vision", "face"),
    "text": ("glove", "bert", "embedding", "text"),
}
PAUSE = "sp"


@dataclass(frozen=True)
class CsdSequence:
    """One decoded `.csd` file: entries are (features [T, D] or words [T], intervals [T, 2] in seconds)."""

    where: str
    root: str
    metadata: Mapping[str, str]
    entries: Mapping[str, tuple[Array | list[str], Intervals]]

    @property
    def dimension_names(self) -> list[str]:
        """Names of the feature dimensions, where the metadata has them (either spelling of the key)."""
        for key in DIMENSION_KEYS:
            try:
                names = json.loads(self.metadata.get(key, "null"))
            except (ValueError, RecursionError):
                continue
            if isinstance(names, list):
                return [str(name) for name in names]
        return []


def load_csd(path: Path, spool: Path) -> CsdSequence:
    """Read one `.csd` file through a limited child process.

    Raises:
        StoreError: the file is missing, damaged, hostile or not a computational sequence.
    """
    size = path.stat().st_size if path.is_file() else 0
    limits = SandboxLimits.for_size(20 * size)
    tree = load_sandboxed(_CHILD, path, spool, limits)
    if not isinstance(tree, dict):
        raise StoreError(f"{path}: not a computational sequence", "Check --format.")
    entries = {key: _read_entry(entry, f"{path}: {key}") for key, entry in tree["data"].items()}
    return CsdSequence(str(path), tree["root"], tree["metadata"], entries)


def _read_entry(entry: Mapping[str, object], where: str) -> tuple[Array | list[str], Intervals]:
    features, intervals = entry["features"], np.asarray(entry["intervals"], dtype=np.float64)
    if not np.isfinite(intervals).all():
        raise StoreError(f"{where}: intervals hold NaN or infinity", "The segment borders are damaged.")
    if isinstance(features, np.ndarray):
        return (features[:, None] if features.ndim == 1 else features), intervals
    return [read_text(word) for word in features if isinstance(word, str)] if isinstance(
        features, list
    ) else [], intervals


def guess_role(sequence: CsdSequence) -> str:
    """The role of a sequence, from its root name: labels, words or a modality.

    Raises:
        StoreError: the name tells nothing.
    """
    name = sequence.root.lower()
    for role, words in ROLE_WORDS.items():
        if any(word in name for word in words):
            return role
    raise StoreError(
        f"{sequence.where}: the root name {sequence.root!r} does not tell what it is",
        f"Name its role: audio={sequence.where} (or vision=, text=, words=, labels=).",
    )


def parse_csd(
    sequences: Mapping[str, CsdSequence], split_of: Mapping[str, str], label_column: int = 0
) -> ImportedCorpus:
    """Join sequences by segment.

    Args:
        sequences: role -> sequence; "labels" is required, "words" gives the text, others are modalities.
        split_of: video id, segment id or "*" -> split.
        label_column: which dimension of the labels is the label; the others become extra columns.

    Raises:
        StoreError: no labels, a segment without a split, or a label that is not there.
    """
    if "labels" not in sequences:
        raise StoreError("no sequence holds the labels", "Add the label file as labels=FILE.csd.")
    corpus = ImportedCorpus("csd", [], {})
    segments: list[tuple[str, str, float, float]] = []
    for key, values, interval in _label_segments(sequences["labels"]):
        match = SEGMENT_KEY.match(key)
        video = match["video"] if match else key
        corpus.rows.append(_read_row(key, video, values, sequences["labels"], split_of, label_column))
        row = corpus.rows[-1]
        row.start_s, row.end_s = float(interval[0]), float(interval[1])
        segments.append((key, video, row.start_s, row.end_s))
    for role, sequence in sequences.items():
        if role == "words":
            for row, segment in zip(corpus.rows, segments, strict=True):
                row.text = _read_words(sequence, segment)
        elif role != "labels":
            corpus.modalities[role] = _as_modality(role, sequence, segments)
    return corpus


def _label_segments(labels: CsdSequence) -> list[tuple[str, Array, Intervals]]:
    """(segment key, label vector, interval) of every labelled segment, in file order."""
    found = []
    for key, (values, intervals) in labels.entries.items():
        if not isinstance(values, np.ndarray):
            raise StoreError(f"{labels.where}: {key} holds text, not labels", "Give another file as labels=.")
        whole = SEGMENT_KEY.match(key) is not None and len(values) == 1
        for number in range(len(values)):
            found.append((key if whole else f"{key}[{number}]", values[number], intervals[number]))
    return found


def _read_row(
    key: str,
    video: str,
    values: Array,
    labels: CsdSequence,
    split_of: Mapping[str, str],
    label_column: int,
) -> Utterance:
    name = VIDEO_SEPARATOR.join((video, key[len(video) + 1 : -1]))
    split = split_of.get(name) or split_of.get(video) or split_of.get("*")
    if split is None:
        raise StoreError(
            f"{labels.where}: no split is known for {name}",
            "A .csd file holds no splits: give --split-file (columns video,split), or --split NAME for all.",
        )
    if not 0 <= label_column < len(values):
        raise StoreError(
            f"{labels.where}: {key} has {len(values)} labels, not {label_column + 1}", "See --label-column."
        )
    row = Utterance(id=name, split=split, label=float(values[label_column]), extra={"video": video})
    names = labels.dimension_names
    for number, value in enumerate(values):
        if number != label_column:
            suffix = names[number] if len(names) == len(values) else str(number)
            row.extra[f"label_{suffix}"] = float(value)
    return row


def _frames(
    sequence: CsdSequence, segment: tuple[str, str, float, float]
) -> tuple[str, npt.NDArray[np.intp]] | None:
    """Entry and frame numbers that belong to a segment, or None when the sequence lacks it."""
    key, video, start, end = segment
    if key in sequence.entries:
        return key, np.arange(len(sequence.entries[key][0]))
    if video not in sequence.entries:
        return None
    intervals = sequence.entries[video][1]
    middle = intervals.mean(axis=1)
    chosen = np.flatnonzero((middle >= start) & (middle < end))
    return (video, chosen) if chosen.size else None


def _as_modality(
    role: str, sequence: CsdSequence, segments: list[tuple[str, str, float, float]]
) -> ImportedModality:
    if any(not isinstance(values, np.ndarray) for values, _ in sequence.entries.values()):
        raise StoreError(f"{sequence.where}: holds text, not features", f"Give it as words={sequence.where}.")
    frames = [_frames(sequence, segment) for segment in segments]

    def load(row: int) -> Array | None:
        found = frames[row]
        return None if found is None else np.asarray(sequence.entries[found[0]][0])[found[1]]

    def intervals(row: int) -> Intervals:
        found = frames[row]
        return np.empty((0, 2)) if found is None else sequence.entries[found[0]][1][found[1]]

    first = next(iter(sequence.entries.values()), None)
    dtype = first[0].dtype.str if first is not None and isinstance(first[0], np.ndarray) else "<f4"
    return ImportedModality(role, load, sequence.where, dtype, interval_of=intervals)


def _read_words(sequence: CsdSequence, segment: tuple[str, str, float, float]) -> str:
    found = _frames(sequence, segment)
    if found is None:
        return ""
    words = sequence.entries[found[0]][0]
    if isinstance(words, np.ndarray):
        raise StoreError(f"{sequence.where}: holds features, not words", f"Give it as text={sequence.where}.")
    return " ".join(words[number] for number in found[1] if words[number] not in (PAUSE, ""))
