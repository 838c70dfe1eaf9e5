"""From command-line files to a corpus: which format each file is, and which parser reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msakit.feature_store.errors import StoreError
from msakit.feature_store.interchange.corpus import (
    SPLIT_ALIASES,
    ImportedCorpus,
    read_source,
    read_split_name,
)
from msakit.feature_store.interchange.csd import CsdSequence, guess_role, load_csd, parse_csd
from msakit.feature_store.interchange.csv_text import CsvProblem, read_csv_rows
from msakit.feature_store.interchange.mmsa import is_mmsa, parse_mmsa
from msakit.feature_store.interchange.mse import is_mse, parse_mse, split_from_name
from msakit.feature_store.interchange.npy_folder import DEFAULT_PATTERN, join_folders
from msakit.feature_store.interchange.sandbox import load_pickle
from msakit.feature_store.interchange.table_csv import MAX_BYTES, parse_csv
from msakit.feature_store.writer import WriterOptions

FORMATS = ("auto", "mmsa", "mse", "csd", "npy", "csv")
NONFINITE_POLICIES = ("error", "keep", "zero")
DTYPES = ("auto", "float16", "bfloat16", "float32", "float64")
ROLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)\Z", re.DOTALL)
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    Attributes:
        dataset: name the dataset gets in the store.
        format: "auto", or one of `FORMATS`.
        nonfinite: NaN and infinities are refused ("error"), stored ("keep") or replaced by 0 ("zero").
        dtype: storage type of features; "auto" takes the narrowest that loses nothing, float32 at most.
        language: language tag of all texts, "" when unknown.
        modalities: import only these; all when empty.
        modality_files: modality -> file (override pickle, `.csd`) or folder (`.npy` per clip).
        extractors: modality -> versioned name of what made the features, where the user knows it.
        split: split of samples that nothing else places.
        split_file: CSV of video or id and split, for `.csd`.
        columns: meaning -> column name, for CSV.
        label_column: which dimension of `.csd` labels is the label.
        file_pattern: how `.npy` files are named.
        features_from: dataset of the same store whose features are joined by id.
        replace: add a new version of a dataset that exists.
        known_files: a user's own list of published checksums.
        writing: where journals go and how they are locked; the rest of it is set by the import.
    """

    dataset: str
    format: str = "auto"
    nonfinite: str = "error"
    dtype: str = "auto"
    language: str = ""
    modalities: tuple[str, ...] = ()
    modality_files: Mapping[str, Path] = field(default_factory=dict)
    extractors: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    split_file: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label_column: int = 0
    file_pattern: str = DEFAULT_PATTERN
    features_from: str = ""
    replace: bool = False
    known_files: Path | None = None
    writing: WriterOptions = field(default_factory=WriterOptions)

    def __post_init__(self) -> None:
        """Check the choices that have a fixed set of answers."""
        for option, value, known in (
            ("format", self.format, FORMATS),
            ("nonfinite", self.nonfinite, NONFINITE_POLICIES),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in known:
                raise StoreError(f"--{option} {value!r} is unknown", f"Use one of: {', '.join(known)}.")
        if self.split:
            object.__setattr__(self, "split", read_split_name(self.split, "--split"))


def read_file_argument(argument: str) -> tuple[str, Path]:
    """(role or "", path) of a command-line argument `[ROLE=]PATH`."""
    match = ROLE.match(argument)
    if match is None or Path(argument).exists():
        return "", Path(argument)
    return match[1], Path(match[2])


def list_sources(files: Sequence[str], options: ImportOptions) -> list[Path]:
    """Every single file an import reads (folders of `.npy` are told by their name alone)."""
    paths = [read_file_argument(argument)[1] for argument in files]
    return [*paths, *(path for path in options.modality_files.values() if path.is_file())]


def detect_format(path: Path, options: ImportOptions) -> str:
    """Format of a file: what `--format` says, else its content and suffix; "pickle" covers mmsa and mse.

    Raises:
        StoreError: the file is missing.
    """
    if options.format != "auto":
        return "pickle" if options.format in ("mmsa", "mse") else options.format
    if not path.is_file():
        what = (
            "a folder: give the CSV of its samples, and the folder as --modality-file"
            if path.is_dir()
            else "missing"
        )
        raise StoreError(f"{path}: {what}", "Check the path.")
    with path.open("rb") as stream:
        if stream.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
            return "csd"
    if path.suffix.lower() in (".csv", ".tsv"):
        return "npy" if options.modality_files else "csv"
    return "pickle"


def open_corpus(files: Sequence[str], options: ImportOptions, spool: Path) -> ImportedCorpus:
    """Read files into a corpus whose sequences may be views of files in `spool`.

    Raises:
        StoreError: no file, files of several formats, or one that its parser refuses.
    """
    arguments = [read_file_argument(argument) for argument in files]
    formats = {detect_format(path, options) for _, path in arguments}
    if len(formats) != 1:
        found = ", ".join(sorted(formats)) or "none"
        raise StoreError(f"expected files of one format, found {found}", "Import them one after the other.")
    match formats.pop():
        case "csd":
            return _open_csd(arguments, options, spool)
        case "csv":
            return parse_csv(arguments, options.columns, options.split)[0]
        case "npy":
            corpus, records = parse_csv(arguments, options.columns, options.split)
            join_folders(corpus, records, options.modality_files, options.file_pattern)
            return corpus
        case _:
            return _open_pickles(arguments, options, spool)


def _open_pickles(
    arguments: Sequence[tuple[str, Path]], options: ImportOptions, spool: Path
) -> ImportedCorpus:
    trees = [(role, _load(path, spool), path) for role, path in arguments]
    role, tree, path = trees[0]
    if options.format == "mmsa" or (options.format == "auto" and is_mmsa(tree)):
        if len(trees) > 1 or role:
            raise StoreError(
                f"{path}: an MMSA file holds all splits, so one file is one dataset",
                "Give other features of the same samples as --modality-file audio=FILE.",
            )
        overrides = {name: (_load(file, spool), str(file)) for name, file in options.modality_files.items()}
        return parse_mmsa(tree, str(path), overrides)
    if options.format == "mse" or is_mse(tree):
        if options.modality_files:
            raise StoreError(
                f"{path}: MSE-Adapter samples have no ids to join other features by", "Leave them out."
            )
        parts = [(_split_of(role, part, file), part, str(file)) for role, part, file in trees]
        return parse_mse(parts)
    keys = ", ".join(str(key) for key in list(tree)[:10]) if isinstance(tree, dict) else type(tree).__name__
    raise StoreError(
        f"{path}: a pickle of unknown layout ({keys})",
        "Known: {train, valid, test} of columns (MMSA), or a list of {features, label} (MSE-Adapter).",
    )


def _split_of(role: str, tree: object, path: Path) -> str:
    if isinstance(tree, dict) and not role:
        return ""
    return read_split_name(role, str(path)) if role else split_from_name(path)


def _load(path: Path, spool: Path) -> object:
    folder = spool / f"{len(list(spool.iterdir()))}"
    folder.mkdir()
    return load_pickle(path, folder)


def _open_csd(arguments: Sequence[tuple[str, Path]], options: ImportOptions, spool: Path) -> ImportedCorpus:
    named = [*arguments, *options.modality_files.items()]
    sequences: dict[str, CsdSequence] = {}
    for number, (role, path) in enumerate(named):
        folder = spool / f"csd-{number}"
        folder.mkdir()
        sequence = load_csd(path, folder)
        key = role or guess_role(sequence)
        if key in sequences:
            raise StoreError(
                f"{path}: {sequences[key].where} is {key} already", f"Name its role: ROLE={path}."
            )
        sequences[key] = sequence
    return parse_csd(sequences, _read_split_file(options), options.label_column)


def _read_split_file(options: ImportOptions) -> dict[str, str]:
    """Video or id -> split; "*" is everything else."""
    splits = {"*": options.split} if options.split else {}
    if options.split_file is None:
        return splits
    try:
        text = read_source(options.split_file, MAX_BYTES).decode("utf-8-sig")
        rows = list(read_csv_rows(text))
    except (UnicodeDecodeError, CsvProblem) as error:
        raise StoreError(
            f"cannot read {options.split_file}: {error}", "Give a CSV of video and split."
        ) from error
    for number, row in rows:
        if len(row) < 2:
            raise StoreError(f"{options.split_file}:{number}: one column", "Give two: video and split.")
        if number == 1 and row[1].strip().lower() not in SPLIT_ALIASES:
            continue
        splits[row[0].strip()] = read_split_name(row[1], f"{options.split_file}:{number}")
    return splits
