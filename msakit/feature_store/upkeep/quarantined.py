"""Files that were put aside as damaged: what can still be read of them, and how to try again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msakit.feature_store.disk.files import list_folder
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.layout import JOURNAL_NAME, SHARD_NAME, FeatureSetFolder
from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.disk.seal import damaged_samples, judge_journal
from msakit.feature_store.disk.shard import read_shard_group
from msakit.feature_store.errors import StoreCorruptError, StoreFormatError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.keys import KEY_BYTES


@dataclass(frozen=True)
class Quarantined:
    """A file put aside.

    Attributes:
        path: where it is.
        problem: what is wrong with it; "" when it reads whole.
        keys: readable samples in it that the store lacks, as hexadecimal keys.
        remedy: how to look at it again.
    """

    path: Path
    problem: str
    keys: tuple[str, ...]
    remedy: str


def examine_quarantine(
    folder: FeatureSetFolder, feature_set: FeatureSet, index: SampleIndex
) -> list[Quarantined]:
    """Read every file that was put aside in a feature set, changing nothing.

    Raises:
        StoreReadError: when the machine could not read one.
    """
    found = []
    for path in list_folder(folder.quarantine):
        keys, problem = _readable(path, feature_set)
        known = index.find(np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)) >= 0
        lacking = tuple(key.hex() for key, there in zip(keys, known.tolist(), strict=True) if not there)
        found.append(Quarantined(path, problem, lacking, _remedy(folder, path, lacking)))
    return found


def _readable(path: Path, feature_set: FeatureSet) -> tuple[list[bytes], str]:
    """Keys of the samples that read whole, and what is wrong with the rest."""
    try:
        if JOURNAL_NAME.fullmatch(path.name):
            journal = judge_journal(feature_set, path)
            lost = journal.scan.damaged_bytes
            return journal.rows.keys, f"{lost:,} bytes of it are damaged" if lost else ""
        if not SHARD_NAME.fullmatch(path.name):
            return [], "it is neither journal nor shard"
        with open_safely(path) as file:
            parsed = read_shard_group(file, file.root, feature_set)
            bad = set(damaged_samples(file.fd, parsed))
        keys = [key.tobytes() for row, key in enumerate(parsed.keys) if row not in bad]
    except (StoreFormatError, StoreCorruptError) as error:
        return [], error.message
    return keys, f"{len(bad)} of {parsed.num_samples} samples in it are damaged" if bad else ""


def _remedy(folder: FeatureSetFolder, path: Path, lacking: tuple[str, ...]) -> str:
    if not lacking:
        return "The store has every sample that can be read of it; delete it when you need the space."
    if JOURNAL_NAME.fullmatch(path.name):
        return f"Move it to {folder.wal} and run `msakit store recover`."
    return f"Move it to {folder.shards} and run `msakit store validate --deep --repair`."
