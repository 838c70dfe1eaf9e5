"""What bfloat16 does to a frozen backbone's answers: three seeds in either dtype, and the drift of a run's.

    python benchmarks/precision.py                      # runs/precision, then docs/results.md
    python benchmarks/precision.py --runs runs/precision

Trains examples/studies/precision.yaml; runs that are finished are kept. The drift is of each bfloat16 run's
validation split: the same adapter behind the backbone in bfloat16 and in float32.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tables import METRICS, ROOT, insert, msakit, spread

from msakit.core.registry.registry import load_registry
from msakit.evaluation.evaluate import evaluate
from msakit.samples.order import BatchLimits
from msakit.workflows.load import load_run, stored_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msakit.runs.predictions import Predictions

STUDY, STORE = "examples/studies/precision.yaml", ROOT / "msakit" / "data" / "demo.h5"
LIMITS = BatchLimits(samples=64)
SAME = 0.05  # answers have one decimal


def drifts(folder: Path) -> Iterator[tuple[Predictions, Predictions]]:
    """Of each bfloat16 run, its answers and those of the same adapter behind a float32 backbone."""
    registry = load_registry(discover=False)
    runs = sorted((folder / "bfloat16").glob("seed-*"))
    exact = load_run(next((folder / "float32").glob("seed-*")), registry).pipeline.backbone
    lowered = load_run(runs[0], registry).pipeline.backbone
    for run in runs:
        found = []
        for backbone in (lowered, exact):
            trained = load_run(run, registry, backbone=backbone)
            samples = stored_samples(trained, STORE)
            found.append(evaluate(trained.pipeline, samples, samples.rows("valid"), LIMITS)[0])
        yield found[0], found[1]


def drift_text(folder: Path) -> str:
    """One sentence: how far probabilities and answers move."""
    distances, moved, errors = [], [], []
    for lowered, exact in drifts(folder):
        assert lowered.probabilities is not None
        assert exact.probabilities is not None
        distances.append(np.abs(lowered.probabilities - exact.probabilities).sum(axis=1) / 2)
        moved.append(np.abs(lowered.values - exact.values))
        errors.append([np.abs(each.values - each.labels).mean() for each in (lowered, exact)])
    distance, steps = np.concatenate(distances), np.concatenate(moved)
    before, after = np.mean(errors, axis=0)
    return (
        "The same adapters, trained in bfloat16, behind the backbone in float32: half the sum of the "
        f"absolute differences of the answers' probabilities is {distance.mean():.4f} in the mean, "
        f"{distance.max():.4f} at most; {np.mean(steps < SAME):.1%} of the answers stay, none moves by more "
        f"than {steps.max():.1f}; validation MAE {before:.3f} and {after:.3f}."
    )


def difference_text(folder: Path, split: str) -> str:
    """The mean over seeds of bfloat16's MAE less float32's, with its interval over samples."""
    runs = (str(folder / name) for name in ("float32", "bfloat16"))
    [found] = msakit("compare", *runs, "--split", split, "--metric", "mae")["differences"]
    return f"{split} {found['difference']:+.3f} (95 % {found['low']:+.3f} to {found['high']:+.3f})"


def table(folder: Path) -> str:
    """Markdown: both dtypes on validation and test, the difference, the drift."""
    results = msakit("sweep", STUDY, "--store", str(STORE), "--output", str(folder))["splits"]
    lines = [
        f"| backbone | split | {' | '.join(METRICS.values())} | train samples/s |",
        "|---" * (len(METRICS) + 3) + "|",
    ]
    for name in ("float32", "bfloat16"):
        for split in ("valid", "test"):
            found = results[split]["systems"][name]
            speed = statistics.median(found["train_samples_per_s"]["values"])
            cells = [*(spread(found[metric]) for metric in METRICS), f"{speed:.1f}"]
            lines.append(f"| {name} | {split} | {' | '.join(cells)} |")
    differences = "; ".join(difference_text(folder, split) for split in ("valid", "test"))
    return "\n".join(
        [*lines, "", f"MAE of bfloat16 less that of float32: {differences}.", "", drift_text(folder)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "precision", help="where the runs are kept"
    )
    insert("docs/results.md", "precision", table(parser.parse_args().runs.resolve()))


if __name__ == "__main__":
    main()
