"""Finished runs read back: the input of comparisons and reports.

A result is a folder with metrics.json and predictions.<split>.csv; a run is one, and so is each further
evaluation of it (`evaluations/<name>`). A group is a folder of runs `seed-<n>` that differ in their seed
alone. Reading needs neither torch nor the components the run was built from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from msakit.core.errors import InputError
from msakit.core.files import parse_json, read_json, read_text, read_yaml
from msakit.metrics import compute_metrics
from msakit.runs.predictions import Predictions, read_predictions
from msakit.runs.record import RECORD_FILE, RunRecord, as_numbers, read_record

EVALUATIONS = "evaluations"
LARGEST_HISTORY = 256 * 2**20
_PREDICTIONS = re.compile(r"predictions\.(?P<split>.+)\.csv\Z")


@dataclass(frozen=True)
class RunResult:
    """One finished run or further evaluation, its files read as they are asked for."""

    path: Path
    record: RunRecord

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits whose predictions are there."""
        found = (_PREDICTIONS.match(path.name) for path in sorted(self.path.iterdir()))
        return tuple(match["split"] for match in found if match)

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Metrics of constant answers on a split, as the run recorded them; NaN where undefined."""
        return {name: as_numbers(values) for name, values in self.record.baselines.get(split, {}).items()}

    def predictions(self, split: str) -> Predictions:
        """The predictions of a split.

        Raises:
            InputError: The split was not evaluated, or its file is damaged.
        """
        path = self.path / f"predictions.{split}.csv"
        if not path.is_file():
            known = ", ".join(self.splits) or "none"
            msg = f"{self.path} has no predictions of the split '{split}' (there: {known})."
            raise InputError(msg, hint=f"Make them with: msakit evaluate {self.path} --split {split}")
        return read_predictions(path, self.record.label_names)

    def metrics(self, split: str) -> dict[str, float]:
        """Every metric of a split, computed anew from its predictions."""
        return self.metrics_of(self.predictions(split))

    def metrics_of(self, found: Predictions) -> dict[str, float]:
        """Every metric of predictions that were read already."""
        names = self.record.label_names or None
        return compute_metrics(self.record.family, found.values, found.labels, label_names=names)

    @cached_property
    def evaluations(self) -> tuple[RunResult, ...]:
        """Further evaluations: modalities taken away, other decoding, another store."""
        files = sorted((self.path / EVALUATIONS).glob(f"*/{RECORD_FILE}"))
        return tuple(RunResult(file.parent, read_record(file)) for file in files)

    @cached_property
    def history(self) -> tuple[dict[str, Any], ...]:
        """The training log, oldest first, epochs from 1; a line cut off by a kill is left out."""
        path = self.path / "history.jsonl"
        entries = tuple(_json_lines(path)) if path.is_file() else ()
        is_old = any(entry.get("epoch") == 0 for entry in entries)  # epochs were counted from 0
        return tuple(map(_from_one, entries)) if is_old else entries

    @cached_property
    def pipeline(self) -> dict[str, Any]:
        """The pipeline the run was made with, as written."""
        path = self.path / "pipeline.yaml"
        return read_yaml(path) if path.is_file() else {}

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Versions, data, hardware, as recorded."""
        return self._read_json("provenance.json")

    @cached_property
    def features(self) -> dict[str, Any]:
        """The recorded recipe of each modality's features."""
        return self._read_json("features.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        return read_json(path) if path.is_file() else {}


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that differ in their seed alone; a single run is a group of one."""

    name: str
    path: Path
    runs: tuple[RunResult, ...]


def read_run(path: Path) -> RunResult:
    """Read a finished run or a further evaluation of one.

    Raises:
        InputError: It is neither, or metrics.json is damaged or incomplete.
    """
    file = path / RECORD_FILE
    if not file.is_file():
        msg = f"{path} is not a finished run: it has no {RECORD_FILE}."
        hint = "Give the folder that `msakit train` wrote."
        if seeds := seed_folders(path):
            hint = (
                f"It holds the runs of several seeds; name one of them: {', '.join(s.name for s in seeds)}."
            )
        raise InputError(msg, hint=hint)
    return RunResult(path, read_record(file))


def read_group(path: Path) -> RunGroup:
    """Read a run, or a folder of runs `seed-<n>`.

    Raises:
        InputError: It is neither, or its runs are of different datasets.
    """
    runs = tuple(read_run(folder) for folder in run_folders(path))
    datasets = sorted({run.record.dataset for run in runs})
    if len(datasets) > 1:
        raise InputError(f"{path} mixes runs on {' and '.join(datasets)}.")
    return RunGroup(path.resolve().name, path, runs)


def run_folders(path: Path) -> list[Path]:
    """The folders of a group's runs; of anything but a folder of seeds, the folder itself."""
    return [path] if is_run(path) else seed_folders(path) or [path]


def is_run(path: Path) -> bool:
    """Whether a folder is a run itself, finished or begun, or a further evaluation of one."""
    return any((path / name).is_file() for name in (RECORD_FILE, "features.json"))


def find_runs(path: Path) -> list[Path]:
    """Every finished run in a folder, by path: itself, its seeds, or all of a study's."""
    if (path / RECORD_FILE).is_file():
        return [path]
    files = sorted(path.rglob(RECORD_FILE), key=lambda file: (len(file.parts), file))
    return [file.parent for file in files if (file.parent / "pipeline.yaml").is_file()]


def seed_folders(path: Path) -> list[Path]:
    """The folders `seed-<n>` in a folder, by number."""
    folders = [folder for folder in path.glob("seed-*") if folder.is_dir()]
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    lines = read_text(path, limit=LARGEST_HISTORY).splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_json(line)
        except ValueError as error:
            if number < len(lines):
                raise InputError(f"{path}, line {number}: not JSON: {error}") from error
            break
        if not isinstance(entry, dict):
            raise InputError(f"{path}, line {number}: an object is expected, not {type(entry).__name__}.")
        entries.append(entry)
    return entries


def _from_one(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry that counted epochs from 0, counting from 1."""
    epoch = entry.get("epoch")
    return entry | {"epoch": epoch + 1} if isinstance(epoch, int) else entry
