"""A study's results as a table."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from msakit.cli.render import number, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msakit.core.study import Study, Summary


def show_summary(summary: Summary | None, digits: int = 3) -> str:
    """`mean ± sd`, or the value where there is one seed."""
    if summary is None:
        return "-"
    mean = number(summary.mean, digits)
    return mean if summary.deviation is None else f"{mean} ± {summary.deviation:.{digits}f}"


def print_study(
    study: Study,
    results: Mapping[str, Mapping[str, Summary]],
    metrics: Sequence[str],
    *,
    baselines: Mapping[str, Mapping[str, Any]] | None = None,
    as_json: bool = False,
) -> None:
    """Print one row a system: the metrics, trained parameters and speed."""
    if as_json:
        shown = {s: {name: asdict(value) for name, value in m.items()} for s, m in results.items()}
        print_json({"systems": shown, "baselines": baselines or {}, "seeds": study.config.seeds})
        return
    columns = ("system", *metrics, "trained parameters", "train samples/s")
    rows = [
        (
            system,
            *(show_summary(values.get(name)) for name in metrics),
            _count(values.get("trainable")),
            show_summary(values.get("train_samples_per_s"), 1),
        )
        for system, values in results.items()
    ]
    for name, values in (baselines or {}).items():
        rows.append((f"{name} baseline", *(number(values.get(metric), 3) for metric in metrics), "0", "-"))
    seeds = ", ".join(map(str, study.config.seeds))
    print_table(f"{study.config.title} (seeds {seeds})", columns, rows, right=columns[1:])


def _count(summary: Summary | None) -> str:
    return "-" if summary is None or math.isnan(summary.mean) else f"{round(summary.mean):,}"
