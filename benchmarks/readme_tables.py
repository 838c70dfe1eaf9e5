"""Measure the README's tables anew and write them into it.

python benchmarks/readme_tables.py                  # quick start over three seeds, then the training step
python benchmarks/readme_tables.py --only quickstart --runs runs/readme
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
METRICS = {"mae": "MAE ↓", "corr": "Corr ↑", "acc2_has0": "Acc-2 ↑", "f1_has0": "F1 ↑", "acc7": "Acc-7 ↑"}


def quickstart_table(runs: Path) -> str:
    """Run (or go on with) the quick start over three seeds; a Markdown table of the test split."""
    command = [sys.executable, "-m", "msakit", "quickstart", "--seeds", "3", "--output", str(runs), "--json"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return format_study(json.loads(printed))


def format_study(results: dict[str, Any]) -> str:
    """A study's JSON as Markdown, mean ± sd over seeds."""
    lines = [
        "| test split | " + " | ".join(METRICS.values()) + " | trained parameters |",
        "|---" * (len(METRICS) + 2) + "|",
    ]
    for system, metrics in results["systems"].items():
        cells = [f"{metrics[name]['mean']:.3f} ± {metrics[name]['deviation']:.3f}" for name in METRICS]
        lines.append(f"| {system} | {' | '.join(cells)} | {metrics['trainable']['mean']:,.0f} |")
    for name, metrics in results["baselines"].items():
        cells = ["-" if metrics[key] is None else f"{metrics[key]:.3f}" for key in METRICS]
        lines.append(f"| always the training {name} | {' | '.join(cells)} | 0 |")
    seeds = ", ".join(map(str, results["seeds"]))
    return "\n".join([*lines, "", f"Mean ± sd over seeds {seeds}; `make table` measures it anew."])


def train_step_table() -> str:
    """The training-step benchmark's own Markdown."""
    command = [sys.executable, str(ROOT / "benchmarks" / "train_step.py")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def insert(name: str, table: str) -> None:
    """Put a table between its markers in the README."""
    path = ROOT / "README.md"
    start, end = f"<!-- results:{name} -->", f"<!-- /results:{name} -->"
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{start}\n{table}\n{end}", text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("quickstart", "train_step"))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "readme")
    arguments = parser.parse_args()
    if arguments.only in (None, "quickstart"):
        insert("quickstart", quickstart_table(arguments.runs))
    if arguments.only in (None, "train_step"):
        insert("train_step", train_step_table())


if __name__ == "__main__":
    main()
