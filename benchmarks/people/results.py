"""From runs and classical predictions to one table with intervals, and a record that can be checked."""

from __future__ import annotations

import hashlib
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.metrics import find_metric
from msakit.metrics.bootstrap import interval, resamples
from msakit.runs.predictions import read_predictions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from msakit.metrics.scores import Floats
    from msakit.runs.predictions import Predictions
    from people.corpora import Corpus

NUM_RESAMPLES = 1000
FAMILIES = {"emodb": "erc", "meld": "erc", "mosi": "mosei"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One system's predictions files, by seed ("" for systems without one) and fold."""

    system: str
    files: Mapping[str, Mapping[str, Path]]

    def predictions(self, names: tuple[str, ...]) -> dict[str, list[Predictions]]:
        """Predictions of every fold, by seed."""
        return {
            seed: [read_predictions(file, names) for file in folds.values()]
            for seed, folds in self.files.items()
        }


def find_measured(corpus: Corpus, folder: Path) -> list[Measured]:
    """Every system of which all folds are finished, classical ones first."""
    found: dict[str, dict[str, dict[str, Path]]] = {}
    for fold in corpus.datasets:
        for file in sorted((folder / fold).glob("*/*/predictions.test.csv")):
            seed = file.parent.name.removeprefix("seed-")
            found.setdefault(file.parents[1].name, {}).setdefault(seed, {})[fold] = file
    complete = {
        system: {seed: folds for seed, folds in seeds.items() if len(folds) == len(corpus.datasets)}
        for system, seeds in found.items()
    }
    return [Measured(system, seeds) for system, seeds in sorted(complete.items(), key=_place) if seeds]


def _place(entry: tuple[str, Any]) -> tuple[bool, str]:
    return "classical" not in entry[1], entry[0]


def record(corpus: Corpus, measured: Iterable[Measured], names: tuple[str, ...]) -> dict[str, Any]:
    """Metrics of every run with the SHA-256 of its predictions, and each system's interval. No data."""
    return {measure.system: _record_one(corpus, measure, names) for measure in measured}


def _record_one(corpus: Corpus, measured: Measured, names: tuple[str, ...]) -> dict[str, Any]:
    by_seed = measured.predictions(names)
    runs = [
        {
            "seed": seed,
            "fold": fold,
            "samples": len(found),
            "metrics": {name: _metric(corpus, name)(found.values, found.labels) for name in corpus.metrics},
            "predictions_sha256": hashlib.sha256(measured.files[seed][fold].read_bytes()).hexdigest(),
        }
        for seed, folds in by_seed.items()
        for fold, found in zip(measured.files[seed], folds, strict=True)
    ]
    intervals = {name: _interval(corpus, name, list(by_seed.values())) for name in corpus.metrics}
    return {"runs": runs, "intervals": intervals}


def _metric(corpus: Corpus, name: str) -> Any:
    return find_metric(FAMILIES[corpus.name], name).function


def _interval(corpus: Corpus, name: str, seeds: Sequence[Sequence[Predictions]]) -> list[float]:
    """95 % over clusters of the folds' pooled predictions, the mean over seeds in every resample."""
    score = _metric(corpus, name)
    ids = [sample for part in seeds[0] for sample in part.ids]
    labels = np.concatenate([part.labels for part in seeds[0]])
    values = [np.concatenate([part.values for part in parts]) for parts in seeds]
    clusters = [corpus.cluster(sample) for sample in ids]
    drawn: Floats = np.array(
        [
            statistics.fmean(score(each[chosen], labels[chosen]) for each in values)
            for chosen in resamples(len(ids), NUM_RESAMPLES, clusters)
        ]
    )
    return [round(bound, 6) for bound in interval(drawn)]


def markdown(corpus: Corpus, content: Mapping[str, Any]) -> str:
    """The table: mean ± sd over runs, and the interval of the first metric."""
    titles = [find_metric(FAMILIES[corpus.name], name).title for name in corpus.metrics]
    lines = [
        f"| system | {' | '.join(titles)} | 95 % of {titles[0]} | runs |",
        "|---" * (len(titles) + 3) + "|",
    ]
    for system, found in content.items():
        cells = [_cell([run["metrics"][name] for run in found["runs"]]) for name in corpus.metrics]
        low, high = found["intervals"][corpus.metrics[0]]
        lines.append(f"| {system} | {' | '.join(cells)} | {low:.3f} to {high:.3f} | {len(found['runs'])} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What of a record is not what was computed now; systems that one of them lacks are named too."""
    problems = [f"{system}: only in one of the two" for system in sorted(old.keys() ^ new.keys())]
    for system in sorted(old.keys() & new.keys()):
        if json.loads(json.dumps(old[system])) != json.loads(json.dumps(new[system])):
            problems.append(f"{system}: other predictions or metrics")
    return problems
