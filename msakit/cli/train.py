"""`msakit train`: train a pipeline, over one seed or several."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.render import say
from msakit.cli.results import print_run
from msakit.cli.settings import AsJson, Overrides, parse_overrides
from msakit.cli.watching import training_progress
from msakit.core.errors import MissingExtraError

if TYPE_CHECKING:
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.training.observer import Observer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog="Example: msakit train pipeline.yaml --store features/ --output runs/first --set training.epochs=5"
)
def train(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline file, as `msakit build -o` writes it.")],
    *,
    store: Annotated[Path, typer.Option(help="The feature store: a folder or a single .h5 file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run directory; default: runs/ and the file's name."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of runs, with seeds 1111, 2222, ...; one folder each.")
    ] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Accept a finished run as well. Interrupted runs continue without it."),
    ] = False,
    assignments: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train a pipeline, then evaluate its best checkpoint on the validation split and the test split.

    After Ctrl-C, SIGTERM or a kill the same command continues the run. Under `accelerate launch` several
    processes train one run together.
    """
    from msakit.core import processes
    from msakit.core.files import read_yaml
    from msakit.core.pipeline.config import parse_pipeline
    from msakit.core.pipeline.overrides import override
    from msakit.core.pipeline.resolution import resolve
    from msakit.runs.checkpoint import read_commit
    from msakit.runs.folder import Run
    from msakit.workflows.train import TrainingPlan, train_run

    registry = options.registry()
    content = override(read_yaml(pipeline), parse_overrides(assignments))
    folder = output or Path("runs") / pipeline.stem
    backbone: Any = None
    for seed, run_folder in seeded_folders(folder, seeds):
        seeded = content if seed is None else override(content, [("training.seed", seed)])
        resolved = resolve(parse_pipeline(seeded, str(pipeline)), registry, source=str(pipeline))
        plan = TrainingPlan(resolved, store, run_folder, resume=resume)
        if Run(run_folder).is_started and processes.is_main():
            saved = read_commit(run_folder).step
            say(f"{run_folder} holds an interrupted training; it goes on after step {saved}.")
        trained = train_run(plan, registry, observers=observers_for(resolved, run_folder), backbone=backbone)
        if resolved.backbone_is_frozen:
            backbone = trained.pipeline.backbone
        if processes.is_main():
            print_run(run_folder, as_json=as_json)


def seeded_folders(folder: Path, seeds: int) -> list[tuple[int | None, Path]]:
    """The run folders of several seeds; one seed is the pipeline's own, in the folder itself."""
    if seeds == 1:
        return [(None, folder)]
    numbers = [1111 * (index + 1) for index in range(seeds)]
    return [(number, folder / f"seed-{number}") for number in numbers]


def observers_for(resolved: ResolvedPipeline, folder: Path, title: str | None = None) -> list[Observer]:
    """A progress bar, and TensorBoard events where tensorboard is installed."""
    from msakit.metrics import validation_metric
    from msakit.training.tensorboard import TensorBoard

    metric = validation_metric(resolved.dataset.metrics)
    observers: list[Observer] = [training_progress(title or f"Training {folder.name}", metric.name)]
    with contextlib.suppress(MissingExtraError):
        observers.append(TensorBoard(folder / "tensorboard"))
    return observers
