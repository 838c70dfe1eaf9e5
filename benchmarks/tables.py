"""Measure the documentation's tables anew and write them where they belong.

python benchmarks/tables.py quickstart    # README: the quick start over three seeds
python benchmarks/tables.py train_step    # README: the training step against the reference
python benchmarks/tables.py papers        # docs/results.md: every fuser over three seeds

Runs that are finished are kept, so an interrupted table goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
METRICS = {"mae": "MAE ↓", "corr": "Corr ↑", "acc2_has0": "Acc-2 ↑", "f1_has0": "F1 ↑", "acc7": "Acc-7 ↑"}
PAGES = {"quickstart": "README.md", "train_step": "README.md", "papers": "docs/results.md"}


def msakit(*arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    command = [sys.executable, "-m", "msakit", *arguments, "--json"]
    printed: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    )
    return printed


def quickstart_table(runs: Path) -> str:
    """The quick start over three seeds, the voice and the face alone, and what each modality is worth."""
    folder, store = runs / "readme", ("--store", "msakit/data/demo.h5")
    results = msakit("quickstart", "--seeds", "3", "--output", str(folder))
    alone = msakit("sweep", "examples/studies/voice_and_face.yaml", *store, "--output", str(folder))
    systems = results["splits"]["test"]["systems"]
    for system in [name for name in systems if name != "text only"]:
        for modality in ("audio", "vision"):
            systems[f"{system}, without {modality}"] = without(folder / system, modality, store)
    systems |= alone["splits"]["test"]["systems"]
    return format_study(results, "`make table` measures it anew.")


def without(folder: Path, modality: str, store: tuple[str, str]) -> dict[str, Any]:
    """Test metrics of a system over its seeds with a modality taken away: mean and sd of each."""
    reports = msakit("evaluate", str(folder), "--without", modality, *store).values()
    found = [report["splits"]["test"] for report in reports]
    values = {name: [metrics[name] for metrics in found] for name in METRICS}
    return {name: {"mean": statistics.fmean(v), "sd": statistics.stdev(v)} for name, v in values.items()}


def papers_table(runs: Path) -> str:
    """Every fuser over three seeds."""
    study = ("examples/studies/papers.yaml", "--store", "msakit/data/demo.h5")
    results = msakit("sweep", *study, "--output", str(runs / "papers"))
    return format_study(results, "`make table-papers` measures it anew.", with_speed=True)


def format_study(results: dict[str, Any], footer: str, *, with_speed: bool = False) -> str:
    """The test split of a study's JSON as Markdown, mean ± sd over seeds."""
    columns = [*METRICS.values(), "trained parameters", *(["train samples/s"] if with_speed else [])]
    lines = [f"| test split | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    found = results["splits"]["test"]
    for system, metrics in found["systems"].items():
        cells = [spread(metrics[name]) for name in METRICS]
        cells.append(f"{metrics['trainable']['mean']:,.0f}" if "trainable" in metrics else "")
        cells += [speed(metrics)] if with_speed else []
        lines.append(f"| {system} | {' | '.join(cells)} |")
    for name, metrics in found["baselines"].items():
        cells = ["-" if metrics[key] is None else f"{metrics[key]:.3f}" for key in METRICS]
        cells += ["0", *(["-"] if with_speed else [])]
        lines.append(f"| always the training {name} | {' | '.join(cells)} |")
    seeds = ", ".join(map(str, results["seeds"]))
    return "\n".join([*lines, "", f"Mean ± sd over seeds {seeds}; {footer}"])


def spread(summary: dict[str, Any]) -> str:
    """A metric over seeds."""
    return f"{summary['mean']:.3f} ± {summary['sd']:.3f}"


def speed(metrics: dict[str, Any]) -> str:
    """Median over seeds; a system that trains nothing has no speed."""
    summary = metrics.get("train_samples_per_s")
    return f"{statistics.median(summary['values']):.1f}" if summary else "-"


def train_step_table(_: Path) -> str:
    """The training-step benchmark's own Markdown."""
    command = [sys.executable, str(ROOT / "benchmarks" / "train_step.py")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def insert(page: str, name: str, table: str) -> None:
    """Put a table between its markers in a page."""
    path = ROOT / page
    start, end = f"<!-- results:{name} -->", f"<!-- /results:{name} -->"
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{start}\n{table}\n{end}", text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=[*PAGES])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where the runs are kept")
    arguments = parser.parse_args()
    measure = {"quickstart": quickstart_table, "train_step": train_step_table, "papers": papers_table}
    insert(PAGES[arguments.table], arguments.table, measure[arguments.table](arguments.runs.resolve()))


if __name__ == "__main__":
    main()
