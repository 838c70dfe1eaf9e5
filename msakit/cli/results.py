"""Metrics of a run as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msakit.cli.render import number, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HIDDEN_PREFIXES = ("support:",)


def print_run(folder: Path, *, as_json: bool, file: str = "metrics.json") -> None:
    """Print a run's metrics beside its baselines."""
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    if as_json:
        print_json(content)
        return
    columns = dict(content["splits"].items())
    for split, baselines in content.get("baselines", {}).items():
        columns |= {f"{split}: {name} baseline": metrics for name, metrics in baselines.items()}
    print_metrics(f"{folder} ({content['dataset']}, seed {content['seed']})", columns)
    say(f"Predictions of every sample: {folder}/predictions.*.csv")


def print_metrics(title: str, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Print metrics, one row each, with a column for every split or system."""
    names = [name for name in next(iter(columns.values())) if not name.startswith(HIDDEN_PREFIXES)]
    rows = [(name, *(number(metrics.get(name)) for metrics in columns.values())) for name in names]
    print_table(title, ("metric", *columns), rows, right=tuple(columns))
