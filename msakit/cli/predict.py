"""`msakit predict`: from media or stored samples to answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from msakit.cli.context import options
from msakit.cli.media_options import (
    AllowFeatureDrift,
    AnswerFile,
    Decode,
    SampleDataset,
    SampleIds,
    SampleSplit,
    Sources,
    SpokenText,
    TrainedRunName,
    Transcribe,
    TranscriberName,
    TranscriberSettings,
)
from msakit.cli.places import OtherStore
from msakit.cli.render import number, print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson, parse_overrides
from msakit.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip, Transcriber
    from msakit.workflows.load import TrainedRun
    from msakit.workflows.responses import Response

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog='Example: msakit predict runs/quickstart/mse-adapter examples/clips/*.mp4 --text "what a film"'
)
def predict(
    run: TrainedRunName,
    clips: Sources = None,
    *,
    text: SpokenText = None,
    transcribe: Transcribe = False,
    transcriber: TranscriberName = "whisper",
    setting: TranscriberSettings = None,
    ids: SampleIds = None,
    store: OtherStore = None,
    dataset: SampleDataset = None,
    split: SampleSplit = None,
    allow_feature_drift: AllowFeatureDrift = False,
    decode: Decode = None,
    output: AnswerFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer for media files, text or stored samples: score or label, with probabilities.

    A file that cannot be read is reported, the others are answered, and the exit code is 1.
    """
    is_stored = bool(ids or dataset or split)
    if bool(clips or text) == is_stored:
        hint = "Give media files and --text; or --id; or --store, --dataset and --split."
        raise InputError("Nothing to predict, or two things at once.", hint=hint)
    from msakit.runs.location import locate_run
    from msakit.runs.results import run_folders
    from msakit.workflows.load import load_run, with_decoding
    from msakit.workflows.responses import check_format, write_responses

    if output is not None:
        check_format(output)
    found = _with_texts(clips or [], text or [])
    place = locate_run(run)
    chosen_run = run_folders(place)[0]
    if chosen_run != place:
        say(f"Answers are those of {chosen_run}.")
    trained = with_decoding(load_run(chosen_run, options.registry()), decode)
    if is_stored:
        chosen = (ids or [], store, dataset, split)
        responses = _stored(trained, *chosen, allow_drift=allow_feature_drift)
    elif found:
        writer = _transcriber(transcriber, setting) if transcribe else None
        responses = _media(trained, found, writer, allow_drift=allow_feature_drift)
    else:
        responses = _texts(trained, text or [])
    if output is not None:
        write_responses(output, responses)
        say(f"{output}: {len(responses)} answers.")
    if as_json:
        print_json([asdict(response) for response in responses])
    elif output is None:
        _show(responses)
    if caution := trained.resolved.dataset.caution:
        say(caution)
    _tell(responses)


def _with_texts(sources: list[str], texts: list[str]) -> list[MediaClip]:
    """The clips, with the texts that were given put to them."""
    from msakit.extraction.sources import find_clips, with_texts

    clips = find_clips(sources, map(os.fsdecode, sys.stdin.buffer)) if sources else []
    return with_texts(clips, texts) if clips else []


def _transcriber(name: str, assignments: list[str] | None) -> Transcriber:
    from msakit.extraction.extractors import make_transcriber

    settings = {}
    for key, value in parse_overrides(assignments):
        if not key.startswith("text."):
            raise ConfigError("--set", [(key, "settings are written text.SETTING=VALUE")])
        settings[key.removeprefix("text.")] = value
    return make_transcriber(options.registry(), name, settings)


def _media(
    trained: TrainedRun, clips: list[MediaClip], transcriber: Transcriber | None, *, allow_drift: bool
) -> list[Response]:
    from msakit.extraction.extractors import licence_notices
    from msakit.workflows.predict import MediaReader, predict_clips

    registry = options.registry()
    reader = MediaReader(trained, registry, allow_drift=allow_drift)
    for line in (*licence_notices(registry, reader.extractor_names), *reader.warnings):
        say(line)
    with progress_bar() as bar:
        task = bar.add_task("Predicting", total=len(clips), note="")
        return list(
            predict_clips(
                trained, reader, clips, transcriber=transcriber, on_clip=lambda done: bar.advance(task, done)
            )
        )


def _stored(
    trained: TrainedRun,
    ids: list[str],
    store: Path | None,
    dataset: str | None,
    split: str | None,
    *,
    allow_drift: bool,
) -> list[Response]:
    from msakit.workflows.load import stored_samples
    from msakit.workflows.predict import predict_stored

    samples = stored_samples(trained, store, dataset=dataset, allow_drift=allow_drift, on_warning=say)
    rows = samples.rows_of(ids) if ids else samples.table.rows(split=split)
    with progress_bar() as bar:
        task = bar.add_task("Predicting", total=len(rows), note="")
        return list(predict_stored(trained, samples, rows, lambda done: bar.advance(task, done)))


def _texts(trained: TrainedRun, texts: list[str]) -> list[Response]:
    from msakit.workflows.predict import respond_to, text_batch

    widths = trained.run.widths()
    return [each for text in texts for each in respond_to(trained, text_batch(text, widths))]


def _show(responses: Sequence[Response]) -> None:
    rows = []
    for each in responses:
        if each.error:
            continue
        likeliest = "  ".join(f"{name} {chance:.3f}" for name, chance in each.likeliest)
        answer = "unreadable" if each.prediction is None else str(each.prediction)
        words = each.label if each.label != answer else ""
        rows.append((each.id, answer, words, number(each.positive), likeliest or each.generated or ""))
    columns = ("sample", "answer", "in words", "P(positive)", "likeliest")
    print_table("", columns, rows, right=("answer", "P(positive)"))


def _tell(responses: Sequence[Response]) -> None:
    """Print notes about the answers; exit code 1 if one is missing."""
    for each in responses:
        if each.absent and not each.error:
            say(f"{each.id}: predicted without {', '.join(each.absent)}.")
        for note in each.notes:
            say(f"{each.id}: {note}.")
    failed = [each for each in responses if each.error]
    for each in failed:
        say(f"{each.id}: not answered: {each.error}")
    if failed:
        say(f"{len(failed)} of {len(responses)} could not be answered.")
        raise typer.Exit(1)
