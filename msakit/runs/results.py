"""What a run left behind, read back: the input of comparisons and reports.

A run is a folder with metrics.json, predictions.<split>.csv, history.jsonl, pipeline.yaml and
provenance.json; a group is a folder of runs `seed-<n>` that differ in their seed alone. Reading needs
neither torch nor the components the run was built from.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import DataError, InputError
from msakit.core.files import read_yaml
from msakit.metrics import compute_metrics

_DIAGNOSTIC = re.compile(r"d:(?P<name>.+?)(?:\[(?P<index>[0-9, ]+)\])?\Z")
_PREDICTIONS = re.compile(r"predictions\.(?P<split>.+)\.csv\Z")


@dataclass(frozen=True, slots=True)
class Predictions:
    """One split's predictions, in the order they were written.

    Attributes:
        ids: N sample ids.
        labels: [N] scores or class indices.
        values: [N] predicted scores or class indices; NaN where there is none.
        probabilities: Answer text to its probability [N].
        diagnostics: Name to values [N, ...]; NaN where a sample has none.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.float64]
    values: NDArray[np.float64]
    probabilities: Mapping[str, NDArray[np.float64]]
    diagnostics: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class RunResult:
    """One finished run, its files read as they are asked for."""

    path: Path
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def dataset(self) -> str:
        """The dataset the run was trained and evaluated on."""
        return str(self.record["dataset"])

    @property
    def family(self) -> str:
        """The metric family of the dataset."""
        return str(self.record["family"])

    @property
    def seed(self) -> int | None:
        """The seed, where there is one."""
        return self.record.get("seed")

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Class names in index order (classification)."""
        names = self.record.get("label_names")
        return tuple(names) if names else None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits whose predictions are there."""
        found = (_PREDICTIONS.match(path.name) for path in sorted(self.path.iterdir()))
        return tuple(match["split"] for match in found if match)

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Metrics of constant answers on a split, as the run recorded them; NaN where undefined."""
        recorded = self.record.get("baselines", {}).get(split, {})
        return {name: _numbers(values) for name, values in recorded.items()}

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
        return _read_predictions(path, self.label_names)

    def metrics(self, split: str) -> dict[str, float]:
        """Every metric of a split, computed from its predictions."""
        return self.metrics_of(self.predictions(split))

    def metrics_of(self, found: Predictions) -> dict[str, float]:
        """Every metric of predictions that were read already."""
        return compute_metrics(self.family, found.values, found.labels, label_names=self.label_names)

    @cached_property
    def ablations(self) -> dict[str, dict[str, float]]:
        """Metrics with modalities taken away, by description; NaN where undefined."""
        path = self.path / "ablations.json"
        recorded = _read_json(path).get("splits", {}) if path.is_file() else {}
        return {name: _numbers(values) for name, values in recorded.items()}

    @cached_property
    def history(self) -> tuple[dict[str, Any], ...]:
        """What training logged, oldest first; a line cut off by a kill is left out."""
        path = self.path / "history.jsonl"
        return tuple(_json_lines(path)) if path.is_file() else ()

    @cached_property
    def pipeline(self) -> dict[str, Any]:
        """The pipeline the run was made with, as written."""
        path = self.path / "pipeline.yaml"
        return read_yaml(path) if path.is_file() else {}

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Versions, data, hardware, as recorded."""
        path = self.path / "provenance.json"
        return _read_json(path) if path.is_file() else {}


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that differ in their seed alone; a single run is a group of one."""

    name: str
    path: Path
    runs: tuple[RunResult, ...]


def load_run(path: Path) -> RunResult:
    """Read a run folder.

    Raises:
        InputError: It is no run, or metrics.json is damaged or incomplete.
    """
    file = path / "metrics.json"
    if not file.is_file():
        msg = f"{path} is not a finished run: it has no metrics.json."
        hint = "Give the folder that `msakit train` wrote."
        if seeds := sorted(folder.name for folder in path.glob("seed-*")):
            hint = f"It holds the runs of several seeds; name one of them: {', '.join(seeds)}."
        raise InputError(msg, hint=hint)
    record = _read_json(file)
    missing = [key for key in ("dataset", "family") if key not in record]
    if missing:
        raise InputError(f"{file} lacks the keys {', '.join(missing)}.", hint="Evaluate the run again.")
    return RunResult(path, record)


def load_group(path: Path) -> RunGroup:
    """Read a run, or a folder of runs `seed-<n>`.

    Raises:
        InputError: It is neither, or its runs are of different datasets.
    """
    folders = sorted(path.glob("seed-*"), key=lambda folder: (len(folder.name), folder.name))
    if (path / "metrics.json").is_file() or not folders:
        folders = [path]
    runs = tuple(load_run(folder) for folder in folders)
    datasets = sorted({run.dataset for run in runs})
    if len(datasets) > 1:
        raise InputError(f"{path} mixes runs on {' and '.join(datasets)}.")
    return RunGroup(path.resolve().name, path, runs)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold a JSON object, not a {type(content).__name__}.")
    return content


def _json_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(f"{path}, line {number}: not JSON: {error}") from error
    return entries


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: float("nan") if value is None else float(value) for key, value in values.items()}


def _read_predictions(path: Path, label_names: tuple[str, ...] | None) -> Predictions:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    missing = [name for name in ("id", "label", "prediction") if name not in header]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}.")
    ragged = [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]
    if ragged:
        raise InputError(f"{path}, line {ragged[0]}: {len(header)} cells are expected.")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(header, ())
    try:
        return Predictions(
            ids=columns["id"],
            labels=_column(columns["label"], label_names),
            values=_column(columns["prediction"], label_names),
            probabilities={key[2:]: _column(cells) for key, cells in columns.items() if key.startswith("p:")},
            diagnostics=_diagnostics(columns),
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}.") from error


def _column(cells: tuple[str, ...], names: tuple[str, ...] | None = None) -> NDArray[np.float64]:
    """Numbers [N] of cells that hold numbers, class names, or nothing (NaN)."""
    index = {name: str(position) for position, name in enumerate(names or ())}
    return np.array([float(index.get(cell, cell) or "nan") for cell in cells], dtype=np.float64)


def _diagnostics(columns: Mapping[str, tuple[str, ...]]) -> dict[str, NDArray[np.float64]]:
    """Columns `d:alpha[0]`, `d:map[0,3]`, `d:entropy` put together as arrays [N, ...]."""
    parts: dict[str, dict[tuple[int, ...], NDArray[np.float64]]] = {}
    for key, cells in columns.items():
        if match := _DIAGNOSTIC.match(key):
            index = tuple(int(part) for part in (match["index"] or "").split(",") if part)
            parts.setdefault(match["name"], {})[index] = _column(cells)
    arrays = {}
    for name, cells_of in parts.items():
        shape = np.max([*cells_of], axis=0).astype(int) + 1
        array = np.full((len(next(iter(cells_of.values()))), *shape), np.nan)
        for index, values in cells_of.items():
            place: tuple[Any, ...] = (slice(None), *index)
            array[place] = values
        arrays[name] = array
    return arrays
