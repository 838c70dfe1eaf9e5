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
    Overlap,
    SampleDataset,
    SampleIds,
    SampleSplit,
    Segment,
    Sources,
    SpokenText,
    TimelineFolder,
    TrainedRunName,
    Transcribe,
    TranscriberName,
    TranscriberSettings,
    segmentation_of,
)
from msakit.cli.places import OtherStore
from msakit.cli.render import number, print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson, parse_overrides
from msakit.core.errors import ConfigError, InputError, MissingExtraError

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip, Transcriber
    from msakit.extraction.segments import Segmentation
    from msakit.workflows.load import TrainedRun
    from msakit.workflows.predict import MediaReader
    from msakit.workflows.responses import Response
    from msakit.workflows.timeline import Timeline

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SHOWN = 20


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
    segment: Segment = None,
    overlap: Overlap = 0.0,
    timeline: TimelineFolder = None,
    decode: Decode = None,
    output: AnswerFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer for media files, text or stored samples: score or label, with probabilities.

    A file that cannot be read is reported, the others are answered, and the exit code is 1.

    With --segment, every segment of a recording is answered, and the whole by their mean, weighted by length.
    """
    is_stored = bool(ids or dataset or split)
    segmentation = segmentation_of(segment, overlap)
    _check(media=bool(clips), text=bool(text), stored=is_stored, cut=segmentation is not None)
    if timeline and not (segmentation or is_stored):
        raise InputError("--timeline needs --segment.", hint="Such as --segment 10, or --segment silence")
    if setting and not transcribe:
        raise InputError("--set is for the transcriber.", hint="Add --transcribe, or leave --set out.")
    if output is not None:
        from msakit.workflows.responses import check_format

        check_format(output)
    found = _with_texts(clips or [], text or [])
    trained = _load(run, decode)
    if is_stored:
        chosen = (ids or [], store, dataset, split)
        responses = _stored(trained, *chosen, timeline, allow_drift=allow_feature_drift)
    elif found:
        writer = _transcriber(transcriber, setting) if transcribe else None
        reader = _reader(trained, allow_drift=allow_feature_drift)
        cut = (segmentation, timeline) if segmentation else None
        responses = _media(trained, reader, found, writer, cut)
    else:
        responses = _texts(trained, text or [])
    _give(responses, output, as_json=as_json)
    if caution := trained.resolved.dataset.caution:
        say(caution)
    _tell(responses)


def _check(*, media: bool, text: bool, stored: bool, cut: bool) -> None:
    """Refuse what cannot be answered together."""
    if (media or text) == stored:
        hint = "Give media files and --text; or --id; or --store, --dataset and --split."
        raise InputError("Nothing to predict, or two things at once.", hint=hint)
    if cut and (text or stored):
        hint = "Give media files without --text; --transcribe gives each segment its own words."
        raise InputError("--segment cuts media, not texts or stored samples.", hint=hint)


def _load(run: str, decode: str | None) -> TrainedRun:
    from msakit.runs.location import locate_run
    from msakit.runs.results import run_folders
    from msakit.workflows.load import load_run, with_decoding

    place = locate_run(run)
    chosen = run_folders(place)[0]
    if chosen != place:
        say(f"Answers are those of {chosen}.")
    return with_decoding(load_run(chosen, options.registry()), decode)


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


def _reader(trained: TrainedRun, *, allow_drift: bool) -> MediaReader:
    from msakit.extraction.extractors import licence_notices
    from msakit.workflows.predict import MediaReader

    registry = options.registry()
    reader = MediaReader(trained, registry, allow_drift=allow_drift)
    for line in (*licence_notices(registry, reader.extractor_names), *reader.warnings):
        say(line)
    return reader


def _media(
    trained: TrainedRun,
    reader: MediaReader,
    clips: list[MediaClip],
    transcriber: Transcriber | None,
    cut: tuple[Segmentation, Path | None] | None,
) -> list[Response]:
    from msakit.workflows.predict import predict_clips

    if cut is not None:
        return _recordings(trained, reader, clips, transcriber, *cut)
    with progress_bar() as bar:
        task = bar.add_task("Predicting", total=len(clips), note="")
        return list(
            predict_clips(
                trained, reader, clips, transcriber=transcriber, on_clip=lambda done: bar.advance(task, done)
            )
        )


def _recordings(
    trained: TrainedRun,
    reader: MediaReader,
    clips: list[MediaClip],
    transcriber: Transcriber | None,
    segmentation: Segmentation,
    folder: Path | None,
) -> list[Response]:
    from msakit.extraction.segments import cut_recordings
    from msakit.workflows.timeline import predict_recordings

    with progress_bar() as bar:
        task = bar.add_task("Cutting", total=len(clips), note="")
        recordings = cut_recordings(clips, segmentation, lambda _: bar.advance(task))
        task = bar.add_task("Predicting", total=sum(len(each.segments) for each in recordings), note="")
        timelines = list(
            predict_recordings(
                trained,
                reader,
                recordings,
                transcriber=transcriber,
                on_segment=lambda done: bar.advance(task, done),
            )
        )
    _write_timelines(folder, timelines)
    return [response for each in timelines for response in each.responses]


def _write_timelines(folder: Path | None, timelines: Sequence[Timeline]) -> None:
    from msakit.workflows.timeline import write_timelines

    if folder is None:
        return
    try:
        write_timelines(folder, timelines)
    except MissingExtraError as error:
        say(f"No pictures: {error}")
    say(f"{folder}: {len(timelines)} timeline{'s' * (len(timelines) != 1)}.")


def _stored(
    trained: TrainedRun,
    ids: list[str],
    store: Path | None,
    dataset: str | None,
    split: str | None,
    folder: Path | None,
    *,
    allow_drift: bool,
) -> list[Response]:
    from msakit.extraction.segments import RECORDING
    from msakit.workflows.load import stored_samples
    from msakit.workflows.predict import predict_stored
    from msakit.workflows.timeline import stored_timelines

    samples = stored_samples(trained, store, dataset=dataset, allow_drift=allow_drift, on_warning=say)
    if folder is not None and RECORDING not in samples.table.extra:
        hint = "msakit extract --segment stores segments."
        raise InputError("--timeline: the stored samples are no segments of recordings.", hint=hint)
    rows = samples.rows_of(ids) if ids else samples.table.rows(split=split)
    with progress_bar() as bar:
        task = bar.add_task("Predicting", total=len(rows), note="")
        responses = list(predict_stored(trained, samples, rows, lambda done: bar.advance(task, done)))
    timelines = stored_timelines(responses)
    _write_timelines(folder, timelines)
    return [*responses, *(timeline.whole for timeline in timelines)]


def _texts(trained: TrainedRun, texts: list[str]) -> list[Response]:
    from msakit.workflows.predict import respond_to, text_batch

    widths = trained.run.widths()
    return [each for text in texts for each in respond_to(trained, text_batch(text, widths))]


def _give(responses: Sequence[Response], output: Path | None, *, as_json: bool) -> None:
    """Write the answers to a file, print them as JSON or as a table."""
    if output is not None:
        from msakit.workflows.responses import write_responses

        write_responses(output, responses)
        say(f"{output}: {len(responses)} answers.")
    if as_json:
        print_json([asdict(response) for response in responses])
    elif output is None:
        _show(responses)


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
    """Print notes about the answers (a recording's tell of its segments); exit code 1 if one is missing."""
    for each in responses:
        if each.recording:
            continue
        if each.absent and not each.error:
            say(f"{each.id}: predicted without {', '.join(each.absent)}.")
        for note in each.notes:
            say(f"{each.id}: {note}.")
    failed = [each for each in responses if each.error]
    for each in failed[:_SHOWN]:
        say(f"{each.id}: not answered: {each.error}")
    if len(failed) > _SHOWN:
        say(f"... and {len(failed) - _SHOWN} more (--json lists all).")
    if failed:
        say(f"{len(failed)} of {len(responses)} could not be answered.")
        raise typer.Exit(1)
