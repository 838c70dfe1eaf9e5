"""A search's plan and its results as tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from msakit.cli.render import number, print_json, print_table, say

if TYPE_CHECKING:
    from msakit.workflows.search import Search
    from msakit.workflows.search_space import Range


def print_plan(search: Search, *, as_json: bool = False) -> None:
    """Print the ranges, and how many trials were made and are to do."""
    config, done = search.config, len(search.tried())
    to_do = max(0, config.trials - done)
    if as_json:
        ranges = config.model_dump(mode="json")["ranges"]
        print_json({"metric": search.metric.name, "ranges": ranges, "begun": done, "to_do": to_do})
        return
    print_table("", ("setting", "values"), [(key, _shown(entry)) for key, entry in config.ranges.items()])
    say(
        f"{done} trials begun, {to_do} to do, each with {len(search.study.config.seeds)} seeds; "
        f"{_direction(search)} {search.metric.name} on the validation split is best."
    )


def print_search(search: Search, *, as_json: bool = False) -> None:
    """Print every trial with its settings and its value, and which one is best."""
    from msakit.workflows.search import BEST_PIPELINE

    trials, best, metric = search.tried(), search.best(), search.metric.name
    file = search.study.folder / BEST_PIPELINE
    if as_json:
        print_json(
            {
                "title": search.study.config.title,
                "metric": metric,
                "direction": _direction(search),
                "trials": [asdict(trial) | {"folder": str(trial.folder)} for trial in trials],
                "best": None if best is None else best.number,
                "best_pipeline": None if best is None else str(file),
            }
        )
        return
    keys = list(search.config.ranges)
    rows = [
        (str(t.number), t.state, *(_text(t.settings[key]) for key in keys), number(t.value, 4))
        for t in trials
    ]
    title = f"{search.study.config.title or search.study.folder.name}, validation split"
    print_table(title, ("trial", "state", *keys, metric), rows, right=(metric,))
    if best:
        say(f"Best: trial {best.number}. Its pipeline: {file}")


def _direction(search: Search) -> str:
    return "highest" if search.metric.higher_is_better else "lowest"


def _shown(entry: Range | list[object]) -> str:
    if isinstance(entry, list):
        return ", ".join(map(_text, entry))
    return f"{entry.low:g} to {entry.high:g}{', by order of magnitude' if entry.log else ''}"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
