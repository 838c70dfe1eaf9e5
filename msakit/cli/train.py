"""`msakit train`: train a pipeline, over one seed or several."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.pipeline_options import (
    BackboneName,
    DatasetName,
    EncoderNames,
    FuserName,
    InjectorName,
    RecipeName,
    named,
)
from msakit.cli.places import RunFolder, StoreToRead
from msakit.cli.render import say, warn_of
from msakit.cli.results import print_run, print_runs_as_json
from msakit.cli.settings import AsJson, Overrides, parse_overrides
from msakit.cli.watching import training_progress
from msakit.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.training.observer import Observer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog="Example: msakit train pipeline.yaml --store features --output runs/first --set training.epochs=5"
)
def train(
    pipeline: Annotated[
        Path | None,
        typer.Argument(help="A pipeline file, as `msakit build -o` writes it; or name the parts."),
    ] = None,
    *,
    store: StoreToRead,
    output: RunFolder = None,
    recipe: RecipeName = None,
    dataset: DatasetName = None,
    encoder: EncoderNames = None,
    fuser: FuserName = None,
    injector: InjectorName = None,
    backbone: BackboneName = None,
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

    Name the parts, or change those of a pipeline file: msakit train --fuser cmpta --store demo.
    After Ctrl-C, SIGTERM or a kill the same command continues the run. Under `accelerate launch` several
    processes train one run together.
    """
    from msakit.core.files import read_yaml
    from msakit.workflows.assemble import assemble_content

    content = assemble_content(
        options.registry(),
        named(dataset=dataset, fuser=fuser, injector=injector, backbone=backbone),
        base=read_yaml(pipeline) if pipeline else None,
        encoders=encoder or [],
        recipe=recipe,
        overrides=parse_overrides(assignments),
        store=store,
    )
    folder = output or Path("runs") / (pipeline.stem if pipeline else _run_name(content))
    source = str(pipeline or "the pipeline")
    trained = _train_seeds(content, source, store, seeded_folders(folder, seeds), resume=resume)
    if as_json:
        print_runs_as_json(list(trained))
        return
    for run_folder in trained:
        print_run(run_folder)


def _train_seeds(
    content: dict[str, Any],
    source: str,
    store: Path,
    folders: list[tuple[int | None, Path]],
    *,
    resume: bool,
) -> Iterator[Path]:
    """Train one run after the other, a frozen backbone loaded once; gives each finished run's folder."""
    from msakit.core import processes
    from msakit.core.pipeline.config import parse_pipeline
    from msakit.core.pipeline.overrides import override
    from msakit.core.pipeline.resolution import resolve
    from msakit.runs.checkpoint import read_commit
    from msakit.runs.folder import Run
    from msakit.workflows.train import TrainingPlan, train_run

    registry = options.registry()
    backbone: Any = None
    for seed, folder in folders:
        seeded = content if seed is None else override(content, [("training.seed", seed)])
        resolved = resolve(parse_pipeline(seeded, source), registry, source=source)
        if processes.is_main() and folder == folders[0][1]:
            warn_of(resolved.warnings)
        if Run(folder).is_started and processes.is_main():
            saved = read_commit(folder).step
            say(f"{folder} holds an interrupted training; it continues after step {saved}.")
        plan = TrainingPlan(resolved, store, folder, resume=resume)
        trained = train_run(plan, registry, observers=observers_for(resolved, folder), backbone=backbone)
        if resolved.backbone_is_frozen:
            backbone = trained.pipeline.backbone
        if processes.is_main():
            yield folder


def _run_name(content: Mapping[str, Any]) -> str:
    """The dataset's and the fuser's names, such as demo-tgm."""
    choices = (content["dataset"], content["fuser"])
    return "-".join(str(each["name"] if isinstance(each, dict) else each) for each in choices)


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
