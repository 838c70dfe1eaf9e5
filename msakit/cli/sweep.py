"""`msakit sweep`: a grid of settings, or named systems, over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.places import StoreToRead
from msakit.cli.render import print_json, print_table, say
from msakit.cli.settings import AsJson, ShardOption
from msakit.cli.study_tables import print_study
from msakit.cli.train import observers_for
from msakit.core.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msakit.training.observer import Observer
    from msakit.workflows.study import Cell, Study

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit sweep examples/studies/injector.yaml --store demo --dry-run")
def sweep(
    study: Annotated[Path, typer.Argument(help="A study file: a pipeline with systems or a grid.")],
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and list the runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train every setting with every seed; finished runs are kept, interrupted ones resumed.

    A grid is measured on the validation split alone, so that nothing is tuned on test data. Several
    workers may run the same command: a run that one of them is training is left to it.
    """
    share = Shard.parse(shard)
    from msakit.workflows.study import read_study

    planned = read_study(study, store, output or Path("runs") / study.stem)
    registry = options.registry()
    if dry_run:
        cells = share.take(planned.cells(registry))
        _print_plan(cells, as_json=as_json)
        return
    if left := planned.run(registry, watch, shard=share):
        say(
            f"{len(left)} runs are left to the processes that are training them, {left[0].folder} among them."
        )
    print_study(planned, metric_names(planned), as_json=as_json)


def _print_plan(cells: Sequence[Cell], *, as_json: bool) -> None:
    """List the runs of a study and whether each is finished."""
    columns = ("system", "seed", "state", "folder")
    rows = [(c.system, c.seed, "finished" if c.is_finished else "to do", str(c.folder)) for c in cells]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table("", columns, [tuple(map(str, row)) for row in rows])


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
