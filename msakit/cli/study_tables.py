"""A study's results as a table."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from msakit.cli.render import number, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msakit.metrics.estimate import Estimate
    from msakit.workflows.study import Study


def show_estimate(estimate: Estimate | None, digits: int = 3) -> str:
    """`mean ± sd`, or the value where there is one seed."""
    if estimate is None:
        return "-"
    mean = number(estimate.mean, digits)
    return mean if estimate.sd is None else f"{mean} ± {estimate.sd:.{digits}f}"


def print_study(study: Study, metrics: Sequence[str], *, as_json: bool = False) -> None:
    """Print a table a split, one row a system: the metrics, trained parameters and speed."""
    found = {split: (study.results(split), study.baselines(split)) for split in study.config.splits}
    if as_json:
        splits = {
            split: {"systems": _as_dicts(systems), "baselines": baselines}
            for split, (systems, baselines) in found.items()
        }
        print_json({"title": study.config.title, "seeds": study.config.seeds, "splits": splits})
        return
    columns = ("system", *metrics, "trained parameters", "train samples/s")
    seeds = ", ".join(map(str, study.config.seeds))
    for split, (systems, baselines) in found.items():
        rows = [_row(system, values, metrics) for system, values in systems.items()]
        for name, constant in baselines.items():
            cells = (number(constant.get(metric)) for metric in metrics)
            rows.append((f"{name} baseline", *cells, "0", "-"))
        print_table(f"{study.config.title}, {split} split (seeds {seeds})", columns, rows, right=columns[1:])


def _row(system: str, values: Mapping[str, Estimate], metrics: Sequence[str]) -> tuple[str, ...]:
    return (
        system,
        *(show_estimate(values.get(name)) for name in metrics),
        _count(values.get("trainable")),
        show_estimate(values.get("train_samples_per_s"), 1),
    )


def _as_dicts(systems: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {system: {name: asdict(value) for name, value in m.items()} for system, m in systems.items()}


def _count(estimate: Estimate | None) -> str:
    return "-" if estimate is None or math.isnan(estimate.mean) else f"{round(estimate.mean):,}"
