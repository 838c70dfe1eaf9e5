"""Folders with one `.npy` per clip (MERTools, Emotion-LLaMA), joined to a CSV of samples by file name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import Array, ImportedCorpus, ImportedModality
from msakit.feature_store.interchange.sequences import read_matrix
from msakit.feature_store.interchange.table_csv import CsvRow

DEFAULT_PATTERN = "{id}"


def join_folders(
    corpus: ImportedCorpus,
    records: Sequence[CsvRow],
    folders: Mapping[str, Path],
    pattern: str = DEFAULT_PATTERN,
) -> None:
    """Add one modality per folder to a corpus read from CSV.

    Args:
        corpus: rows to join to; gains the modalities.
        records: the CSV records behind the rows, in the same order.
        folders: modality -> folder of `NAME.npy` ([D] or [T, D]), or of folders `NAME/`, one `.npy` a frame.
        pattern: how NAME is made, from {id}, {split} and the record's cells: "dia{dialogue}_utt{utterance}".

    Raises:
        StoreError: a folder is missing or holds none of the clips, or the pattern names what is not there.
    """
    names = [_file_name(row.id, record, pattern) for row, record in zip(corpus.rows, records, strict=True)]
    for modality, folder in folders.items():
        if not folder.is_dir():
            raise StoreError(
                f"{folder}: no such folder", f"Give the {modality} features as {modality}=FOLDER."
            )
        paths = [_find(folder, name) for name in names]
        missing = [row.id for row, path in zip(corpus.rows, paths, strict=True) if path is None]
        if len(missing) == len(paths):
            raise StoreError(
                f"{folder}: holds features of none of the {len(paths)} samples (looked for {names[0]}.npy)",
                "Set --file-pattern to how the files are named.",
            )
        if missing:
            corpus.notes.append(
                f"{modality}: no file for {len(missing)} samples, first {missing[:3]}; absent there"
            )
        corpus.modalities[modality] = _as_modality(modality, folder, paths)
    corpus.format = "npy"


def _file_name(name: str, record: CsvRow, pattern: str) -> str:
    fields = {**record.others, **record.cells, "id": name, "split": record.split}
    try:
        file_name = pattern.format_map(fields)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise StoreError(
            f"file pattern {pattern!r}: {error}", f"It may use: {', '.join(sorted(fields))}."
        ) from error
    if file_name in ("", ".", "..") or "/" in file_name or "\\" in file_name or "\0" in file_name:
        raise StoreError(
            f"{record.where}: {file_name!r} is not a file name", "Clip names may not hold separators."
        )
    return file_name


def _find(folder: Path, name: str) -> Path | None:
    file, frames = folder / f"{name}.npy", folder / name
    if file.is_file():
        return file
    return frames if frames.is_dir() else None


def _as_modality(modality: str, folder: Path, paths: list[Path | None]) -> ImportedModality:
    def load(row: int) -> Array | None:
        path = paths[row]
        return None if path is None else _load(path)

    first = next(path for path in paths if path is not None)
    return ImportedModality(modality, load, str(folder), _load(first).dtype.str)


def _load(path: Path) -> Array:
    """One clip [T, D]; a folder holds one file a frame, in the order of its names."""
    if path.is_file():
        return read_matrix(_read_npy(path), str(path))
    frames = [read_matrix(_read_npy(file), str(file)) for file in sorted(path.glob("*.npy"))]
    if not frames:
        raise StoreError(f"{path}: no .npy file inside", "Remove the empty folder or extract the clip again.")
    widths = {frame.shape[1] for frame in frames}
    if len(widths) > 1:
        raise StoreError(f"{path}: frames of different widths {sorted(widths)}", "Extract the clip again.")
    return np.concatenate(frames)


def _read_npy(path: Path) -> Array:
    # Mapped, never unpickled: a header that promises more than the file holds fails before any allocation.
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise StoreError(f"{path}: not a readable .npy file ({error})", "Extract the clip again.") from error
    return np.asarray(array)
