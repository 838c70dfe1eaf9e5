"""`msakit quickstart`: the main job on the shipped corpus and backbone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import msakit
from msakit.cli.context import options
from msakit.cli.places import StoreToRead
from msakit.cli.render import say
from msakit.cli.settings import AsJson
from msakit.cli.study_tables import print_study
from msakit.cli.sweep import watch
from msakit.cli.train import seeded_folders
from msakit.cli.workers import fitting_workers, sharing
from msakit.samples.location import DEMO

if TYPE_CHECKING:
    from msakit.workflows.study import Study

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DATA = Path(msakit.__file__).parent / "data"
METRICS = ("mae", "corr", "acc2_has0", "f1_has0", "acc2_non0", "acc7")
ABOUT = """The corpus: movie snippets with human ratings, spoken by a synthetic voice and an animated face.
In a third of the clips the delivery is ironic, which flips the label: the text alone is often wrong, voice
and face alone say nothing, and a system that reads all of them together can be right.
It shows that the machinery works, not how well it does on people (docs/demo_corpus.md)."""


@app.command(epilog="Example: msakit quickstart --seeds 3 --output runs/three-seeds")
def quickstart(
    *,
    store: StoreToRead = Path(DEMO),
    study_file: Annotated[
        Path, typer.Option("--study", help="The study to run.", show_default="the shipped one")
    ] = DATA / "quickstart.yaml",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the runs.")
    ] = Path("runs/quickstart"),
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per system.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of processes that share the runs; each loads the model.",
            show_default="by processors and memory",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train adapters on a pretrained language model over real audio and video features.

    Trains the fusions of MSE-Adapter, CMPTA and EGMF and a system that has the text alone, evaluates all of
    them on the test split beside constant answers, and writes a report. Run it again after an interruption
    and it goes on from there.
    """
    from msakit.workflows.study import read_study

    started = time.monotonic()
    registry = options.registry()
    study = read_study(study_file, store, output)
    numbers = [seed or study.config.seeds[0] for seed, _ in seeded_folders(output, seeds)]
    study = replace(study, config=study.config.model_copy(update={"seeds": numbers}))
    if not as_json:
        say(ABOUT + "\n")
    to_do = sum(not cell.is_finished for cell in study.cells(registry))
    command = ("quickstart", "--store", store, "--study", study_file, "--output", output, "--json")
    processes = min(workers or fitting_workers(), to_do)
    with sharing((*command, "--seeds", str(seeds)), processes, output):
        study.run(registry, watch)
    print_study(study, METRICS, as_json=as_json)
    if not as_json:
        _say_what_next(study, time.monotonic() - started)


def _say_what_next(study: Study, seconds: float) -> None:
    from msakit.core.errors import MissingExtraError
    from msakit.reports.report import write_report

    _, _, run = study.places()[0]
    say(
        f"\nTest split; done in {seconds / 60:.1f} minutes. Every prediction is in {run}/predictions.test.csv"
    )
    try:
        say(f"Report: {write_report(study.folder, study.folder / 'report.html')}")
    except MissingExtraError as error:
        say(str(error))
    say(f"One system's own: msakit report {run}")
    say(f'Next: msakit predict {run} --text "A great film." --text "An awful film."')
    say(f'      msakit predict {run} CLIP.mp4 --text "what is said in it"')
