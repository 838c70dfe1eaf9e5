"""Metrics of a run as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msakit.cli.render import number, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from msakit.runs.record import Metrics

HIDDEN_PREFIXES = ("support:",)


def print_runs_as_json(folders: Sequence[Path]) -> None:
    """Print the record of a run; of several, each under its folder's name."""
    from msakit.runs.results import read_run

    records = {folder.name: read_run(folder).record.model_dump(mode="json") for folder in folders}
    print_json(records if len(records) > 1 else next(iter(records.values()), {}))


def print_run(folder: Path) -> None:
    """Print a run's metrics beside its baselines, and what it warns of."""
    from msakit.runs.results import read_run

    record = read_run(folder).record
    columns: dict[str, Metrics] = dict(record.splits)
    for split, baselines in record.baselines.items():
        columns |= {f"{split}: {name} baseline": metrics for name, metrics in baselines.items()}
    print_metrics(f"{folder} ({record.dataset}, seed {record.seed})", columns)
    for warning in record.warnings:
        say(f"Warning: {warning}")
    say(f"Predictions of every sample: {folder}/predictions.*.csv")


def print_metrics(title: str, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Print metrics, one row each, with a column for every split or system."""
    names = [name for name in next(iter(columns.values())) if not name.startswith(HIDDEN_PREFIXES)]
    rows = [(name, *(number(metrics.get(name)) for metrics in columns.values())) for name in names]
    print_table(title, ("metric", *columns), rows, right=tuple(columns))
