"""From runs and classical predictions to one table with intervals, and a record that can be checked."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.metrics import find_metric
from msakit.metrics.bootstrap import interval, resamples
from msakit.runs.predictions import read_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def record(corpus: Corpus, measured: Sequence[Measured], names: tuple[str, ...]) -> dict[str, Any]:
    """Of every system its runs' metrics with the SHA-256 of their predictions, and intervals. No data."""
    pooled = {each.system: _pool(each, names) for each in measured}
    return {
        each.system: {
            "runs": _runs(corpus, each, names),
            "intervals": _intervals(corpus, pooled[each.system], pooled.get(corpus.reference)),
        }
        for each in measured
    }


def _runs(corpus: Corpus, measured: Measured, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "seed": seed,
            "fold": fold,
            "samples": len(found),
            "metrics": {
                name: _defined(_metric(corpus, name)(found.values, found.labels)) for name in corpus.metrics
            },
            "predictions_sha256": hashlib.sha256(measured.files[seed][fold].read_bytes()).hexdigest(),
        }
        for seed, folds in measured.predictions(names).items()
        for fold, found in zip(measured.files[seed], folds, strict=True)
    ]


def _metric(corpus: Corpus, name: str) -> Any:
    return find_metric(FAMILIES[corpus.name], name).function


@dataclass(frozen=True, slots=True)
class Pooled:
    """The folds of a system put together: N ids, labels [N], and predictions [N] of every seed."""

    ids: list[str]
    labels: Floats
    values: list[Floats]


def _pool(measured: Measured, names: tuple[str, ...]) -> Pooled:
    seeds = [*measured.predictions(names).values()]
    ids = [sample for part in seeds[0] for sample in part.ids]
    labels = np.concatenate([part.labels for part in seeds[0]])
    return Pooled(ids, labels, [np.concatenate([part.values for part in parts]) for parts in seeds])


def _intervals(corpus: Corpus, system: Pooled, reference: Pooled | None) -> dict[str, list[float | None]]:
    """95 % over clusters of pooled folds, seeds averaged: each metric, and the first less the reference's."""
    clusters = [corpus.cluster(sample) for sample in system.ids]
    draws = [*resamples(len(clusters), NUM_RESAMPLES, clusters)]
    drawn = {name: _draw(_metric(corpus, name), system, draws) for name in corpus.metrics}
    if reference is not None and reference.ids == system.ids and reference is not system:
        first = corpus.metrics[0]
        drawn["difference"] = drawn[first] - _draw(_metric(corpus, first), reference, draws)
    return {name: [_defined(bound) for bound in interval(values)] for name, values in drawn.items()}


def _defined(value: float) -> float | None:
    """A number as the record has it; None for what is undefined, such as a constant's correlation."""
    return None if math.isnan(value) else round(value, 6)


def _draw(score: Any, system: Pooled, draws: Sequence[Any]) -> Floats:
    means = [
        statistics.fmean(score(values[chosen], system.labels[chosen]) for values in system.values)
        for chosen in draws
    ]
    return np.array(means)


def markdown(corpus: Corpus, content: Mapping[str, Any]) -> str:
    """The table: mean ± sd over runs; 95 % of the first metric and of its distance from the reference."""
    titles = [find_metric(FAMILIES[corpus.name], name).title for name in corpus.metrics]
    heads = ["system", *titles, f"95 % of {titles[0]}", f"less {corpus.reference}", "runs"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for system, found in content.items():
        cells = [_cell([run["metrics"][name] for run in found["runs"]]) for name in corpus.metrics]
        cells += [_span(found["intervals"].get(key)) for key in (corpus.metrics[0], "difference")]
        lines.append(f"| {system} | {' | '.join(cells)} | {len(found['runs'])} |")
    return "\n".join(lines)


def _span(bounds: Sequence[float] | None) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "-"


def _cell(found: list[float | None]) -> str:
    if not (values := [value for value in found if value is not None]):
        return "-"
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What of a record is not what was computed now; systems that one of them lacks are named too."""
    problems = [f"{system}: only in one of the two" for system in sorted(old.keys() ^ new.keys())]
    for system in sorted(old.keys() & new.keys()):
        if json.loads(json.dumps(old[system])) != json.loads(json.dumps(new[system])):
            problems.append(f"{system}: other predictions or metrics")
    return problems
