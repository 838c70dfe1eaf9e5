"""Ways to read the answer: scored answers (median, mean, mode), greedy generation, a head on the last state.

    python benchmarks/readouts.py                      # runs/readouts, then docs/results.md
    python benchmarks/readouts.py --runs runs/readouts

Trains examples/studies/readouts.yaml. Median, mean and mode are points of one distribution of the same
runs, and generation is another reading of them. Runs that are finished are kept.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tables import METRICS, ROOT, insert, msakit

from msakit.metrics import compute_metrics
from msakit.runs.predictions import read_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msakit.runs.predictions import Floats, Predictions

STUDY, STORE = "examples/studies/readouts.yaml", "msakit/data/demo.h5"
SCORED, TRAINED = "scored-answers", {"head-l1": "a head, L1 loss", "head-huber": "a head, Huber loss"}


def points(found: Predictions) -> dict[str, Floats]:
    """Median, mean and mode of each sample's distribution [N]."""
    assert found.probabilities is not None, "scored answers have probabilities"
    values = np.array([float(answer) for answer in found.answers])
    return {
        "median of the scored answers": found.values,
        "mean of the scored answers": found.probabilities @ values / found.probabilities.sum(axis=1),
        "mode of the scored answers": values[found.probabilities.argmax(axis=1)],
    }


def readings(folder: Path) -> Iterator[tuple[str, Floats, Floats]]:
    """Every readout of every run: its name, predictions [N] and labels [N]."""
    for file in sorted((folder / SCORED).glob("seed-*/predictions.test.csv")):
        found = read_predictions(file)
        for name, values in points(found).items():
            yield name, values, found.labels
    for file in sorted((folder / SCORED).glob("seed-*/evaluations/*generate*/predictions.test.csv")):
        found = read_predictions(file)
        yield "greedy generation", found.values, found.labels
    for system, name in TRAINED.items():
        for file in sorted((folder / system).glob("seed-*/predictions.test.csv")):
            found = read_predictions(file)
            yield name, found.values, found.labels


def table(folder: Path) -> str:
    """Markdown: mean and standard deviation over seeds."""
    found: dict[str, list[dict[str, float]]] = {}
    for name, values, labels in readings(folder):
        found.setdefault(name, []).append(compute_metrics("mosei", values, labels))
    lines = [f"| readout | {' | '.join(METRICS.values())} | runs |", "|---" * (len(METRICS) + 2) + "|"]
    for name, runs in found.items():
        cells = [_spread([run[metric] for run in runs]) for metric in METRICS]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "readouts", help="where the runs are kept"
    )
    folder = parser.parse_args().runs.resolve()
    msakit("sweep", STUDY, "--store", STORE, "--output", str(folder))
    for run in sorted((folder / SCORED).glob("seed-*")):
        if not any(run.glob("evaluations/*generate*")):
            msakit("evaluate", str(run), "--split", "test", "--decode", "generate", "--store", STORE)
    insert("docs/results.md", "readouts", table(folder))


if __name__ == "__main__":
    main()
