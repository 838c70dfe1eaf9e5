"""`msakit sweep`: named systems, a grid of settings or a search, over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.cost_table import megabytes, minutes
from msakit.cli.places import StoreToRead
from msakit.cli.render import print_json, print_table, say
from msakit.cli.search_tables import print_plan, print_search
from msakit.cli.settings import AsJson, ShardOption
from msakit.cli.study_tables import print_study
from msakit.cli.train import observers_for
from msakit.cli.workers import Workers, sharing
from msakit.core.errors import InputError
from msakit.core.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msakit.training.observer import Observer
    from msakit.workflows.cost import Cost
    from msakit.workflows.study import Cell, Study

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit sweep examples/studies/injector.yaml --store demo --dry-run")
def sweep(
    study: Annotated[Path, typer.Argument(help="A study file: a pipeline with systems, a grid or a search.")],
    *,
    store: StoreToRead,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the runs. [default: runs/ and the file's name]",
        ),
    ] = None,
    shard: ShardOption = "1/1",
    workers: Workers = 1,
    search: Annotated[bool, typer.Option("--search", help="Search the study's ranges with Optuna.")] = False,
    storage: Annotated[
        str, typer.Option(metavar="URL", help="Optuna's storage. Default: search.db in the output folder.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and list the runs.")] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="With --dry-run: load the backbones, estimate memory and time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train every setting with every seed; finished runs are kept, interrupted ones resumed.

    A grid and a search are measured on the validation split alone, so that nothing is tuned on test data.
    Several workers may run the same command: a run that one of them is training is left to it.
    """
    share = Shard.parse(shard)
    from msakit.workflows.study import read_study

    folder = output or Path("runs") / study.stem
    planned = read_study(study, store, folder)
    _check_options(planned, share, storage, search=search)
    if cost and (search or not dry_run):
        raise InputError("--cost is for the --dry-run of systems or a grid.", hint="Leave it out.")
    if search:
        _search(planned, storage, dry_run=dry_run, as_json=as_json)
        return
    registry = options.registry()
    if dry_run:
        cells = share.take(planned.cells(registry))
        _print_runs(cells, _costs(cells, store) if cost else {}, as_json=as_json)
        return
    command = ("sweep", study, "--store", store, "--output", folder, "--shard", shard)
    to_do = sum(not cell.is_finished for cell in share.take(planned.cells(registry)))
    with sharing(command, min(workers, to_do), folder):
        left = planned.run(registry, watch, shard=share)
    if left := [cell for cell in left if not cell.is_finished]:
        say(
            f"{len(left)} runs are left to the processes that are training them, {left[0].folder} among them."
        )
    print_study(planned, metric_names(planned), as_json=as_json)


def _check_options(study: Study, share: Shard, storage: str, *, search: bool) -> None:
    if study.config.search and not search:
        raise InputError("The study is a search.", hint="Add --search.")
    if storage and not search:
        raise InputError("--storage is for a search.", hint="Add --search, or leave --storage out.")
    if search and share.count > 1:
        raise InputError(
            "--shard is not for a search.",
            hint="Run the same command on every machine: workers share the storage and the output folder.",
        )


def _costs(cells: Sequence[Cell], store: Path) -> dict[str, Cost]:
    from msakit.workflows.cost import estimate_study

    return estimate_study([cell for cell in cells if not cell.is_finished], options.registry(), store)


def _print_runs(cells: Sequence[Cell], costs: Mapping[str, Cost], *, as_json: bool) -> None:
    """The runs and their states; of those to do, memory and time at most, and the sum of the times."""
    to_do = [costs[cell.system] for cell in cells if cell.system in costs and not cell.is_finished]
    total_s = sum(cost.longest_s for cost in to_do)
    if as_json:
        print_json(
            {"runs": [_run_dict(cell, costs) for cell in cells], "longest_s": total_s if costs else None}
        )
        return
    columns: tuple[str, ...] = ("system", "seed", "state", "folder")
    rows: list[tuple[str, ...]] = [(c.system, str(c.seed), _state(c), str(c.folder)) for c in cells]
    if costs:
        columns += ("MiB", "minutes")
        rows = [(*row, *_cost_cells(cell, costs)) for row, cell in zip(rows, cells, strict=True)]
    print_table("", columns, rows, right=("MiB", "minutes"))
    if costs:
        say(f"{minutes(total_s)} minutes for all runs to do, one after another, if none stops early.")


def _state(cell: Cell) -> str:
    return "finished" if cell.is_finished else "to do"


def _cost_cells(cell: Cell, costs: Mapping[str, Cost]) -> tuple[str, str]:
    if cell.is_finished:
        return "-", "-"
    cost = costs[cell.system]
    return megabytes(cost.memory), minutes(cost.longest_s)


def _run_dict(cell: Cell, costs: Mapping[str, Cost]) -> dict[str, Any]:
    found: dict[str, Any] = {"system": cell.system, "seed": cell.seed, "state": _state(cell)}
    found["folder"] = str(cell.folder)
    if cell.system in costs and not cell.is_finished:
        cost = costs[cell.system]
        found |= {"memory": cost.memory, "longest_s": cost.longest_s}
    return found


def _search(study: Study, storage: str, *, dry_run: bool, as_json: bool) -> None:
    from msakit.workflows.search import Search

    search = Search(study, options.registry(), storage)
    if dry_run:
        search.check()
        print_plan(search, as_json=as_json)
        return
    if left := search.run(watch):
        say(f"{len(left)} trials are left to the processes that are training them, {left[0]} among them.")
    print_search(search, as_json=as_json)


def watch(cell: Cell) -> Sequence[Observer]:
    """A progress bar for one run of a study."""
    return observers_for(cell.resolved, cell.folder, f"{cell.system}, seed {cell.seed}")


def metric_names(study: Study) -> tuple[str, ...]:
    """The metrics worth a column, the validation metric's family's."""
    from msakit.core.pipeline.config import DatasetChoice
    from msakit.core.pipeline.resolution import resolve_dataset
    from msakit.metrics import family_metrics

    choice = DatasetChoice.model_validate(study.pipeline["dataset"])
    family = resolve_dataset(choice, options.registry()).metrics
    return tuple(metric.name for metric in family_metrics(family))[:8]
