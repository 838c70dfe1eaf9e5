"""`msakit predict`: from media or stored samples to an answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.render import print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson
from msakit.core.errors import InputError

if TYPE_CHECKING:
    from msakit.core.registry.registry import Registry
    from msakit.runs.predictions import Answer
    from msakit.workflows.load import TrainedRun

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog='Example: msakit predict runs/quickstart/multimodal examples/clips/*.mp4 --text "what a film"'
)
def predict(
    run: Annotated[
        Path, typer.Argument(help="A run directory; of a folder of runs seed-<n>, the first run answers.")
    ],
    clips: Annotated[list[Path] | None, typer.Argument(help="Media files (video, or audio alone).")] = None,
    *,
    text: Annotated[
        list[str] | None,
        typer.Option(help="What is said: once for each file in turn, or once for all of them."),
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A stored sample instead of a file; may be repeated.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Where stored samples are; default: the run's store.")
    ] = None,
    decode: Annotated[str | None, typer.Option(help="score or generate, instead of the run's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer for media files, text or stored samples: label or score, with probabilities."""
    from msakit.runs.results import run_folders
    from msakit.workflows.load import load_run, with_decoding

    if bool(clips or text) == bool(ids):
        raise InputError(
            "Nothing to predict, or two things at once.", hint="Give media files and --text, or --id."
        )
    registry = options.registry()
    chosen = run_folders(run)[0]
    if chosen != run:
        say(f"Answers are those of {chosen}.")
    trained = with_decoding(load_run(chosen, registry), decode)
    answers = _stored(trained, ids, store) if ids else _media(trained, registry, clips or [], text or [])
    if as_json:
        print_json([asdict(answer) for answer in answers])
        return
    _show(answers)


def _stored(trained: TrainedRun, ids: list[str], store: Path | None) -> list[Answer]:
    from msakit.workflows.load import stored_samples
    from msakit.workflows.predict import predict_batch

    samples = stored_samples(trained, store)
    batches = [samples.batch(samples.rows_of([name])) for name in ids]
    return [answer for batch in batches for answer in predict_batch(trained, batch)]


def _media(trained: TrainedRun, registry: Registry, clips: list[Path], texts: list[str]) -> list[Answer]:
    from msakit.workflows.predict import predict_media

    if not clips:
        return predict_media(trained, registry, clips, texts)
    with progress_bar() as bar:
        task = bar.add_task("Predicting", total=len(clips), note="")
        return predict_media(trained, registry, clips, texts, on_clip=lambda: bar.advance(task))


def _show(answers: list[Answer]) -> None:
    rows = []
    for answer in answers:
        likeliest = "  ".join(f"{name} {chance:.1%}" for name, chance in answer.likeliest)
        prediction = "unreadable" if answer.prediction is None else str(answer.prediction)
        rows.append((answer.id, prediction, likeliest or answer.generated or ""))
    print_table("", ("sample", "answer", "likeliest"), rows, right=("answer",))
    for answer in answers:
        if answer.absent:
            say(f"{answer.id}: predicted without {', '.join(answer.absent)}.")
