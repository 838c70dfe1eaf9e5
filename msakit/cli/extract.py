"""`msakit extract`: media to features in a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from msakit.cli.context import options
from msakit.cli.journal_options import NoLocks, WalDir, writer_options
from msakit.cli.media_options import (
    AudioExtractor,
    ClipsToExtract,
    DatasetToWrite,
    DryRun,
    ExtractorSettings,
    OtherModalities,
    Overlap,
    Segment,
    Transcribe,
    TranscriberName,
    VisionExtractor,
    segmentation_of,
)
from msakit.cli.render import print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson, ShardOption, parse_pairs
from msakit.core.errors import ConfigError, InputError
from msakit.core.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msakit.extraction.extract import Extraction, ExtractionReport
    from msakit.extraction.extractors import ExtractorFactory
    from msakit.extraction.manifest import ManifestRow
    from msakit.extraction.segments import Segmentation
    from msakit.feature_store.writer import NanPolicy

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXAMPLE = "Example: msakit extract examples/clips/manifest.csv --audio prosody --store features"
_POLICIES = ("error", "keep", "zero")
_SHOWN = 20


@app.command(epilog=_EXAMPLE)
def extract(
    clips: ClipsToExtract,
    *,
    store: Annotated[Path, typer.Option(help="The store: a folder, created if absent.")],
    audio: AudioExtractor = None,
    vision: VisionExtractor = None,
    modality: OtherModalities = None,
    dataset: DatasetToWrite = None,
    setting: ExtractorSettings = None,
    transcribe: Transcribe = False,
    transcriber: TranscriberName = "whisper",
    segment: Segment = None,
    overlap: Overlap = 0.0,
    dtype: Annotated[str, typer.Option(help="Stored as float16, bfloat16 or float32.")] = "float32",
    nonfinite: Annotated[str, typer.Option(help="NaN and infinities: error, keep or zero.")] = "error",
    workers: Annotated[int, typer.Option(min=1, help="Number of extraction processes.")] = 1,
    shard: ShardOption = "1/1",
    wal_dir: WalDir = None,
    no_locks: NoLocks = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Extract features of every clip of a folder or manifest into a store. Features already stored are kept.

    A shard extracts its clips' features. When all of them are in one store (`msakit store merge`), the same
    command without --shard finds them there and writes the dataset's table.

    With --segment, each segment of a recording becomes a sample with its start and end.
    """
    share = Shard.parse(shard)
    settings = _settings(setting)
    writes = (transcriber, settings.pop("text", {})) if transcribe else None
    others = dict(parse_pairs("--modality", modality, example="face=blendshapes"))
    factories = _factories({"audio": audio, "vision": vision, **others}, settings)
    segmentation, policy = segmentation_of(segment, overlap), _policy(nonfinite)

    from msakit.extraction.extract import Extraction
    from msakit.extraction.sources import read_rows

    _show_licences(factories)
    rows, uncut = _cut(share.take(read_rows(clips)), segmentation)
    writing = writer_options(wal_dir, no_locks)
    extraction = Extraction(factories, dtype=dtype, nonfinite=policy, writing=writing, workers=workers)
    name = dataset or (clips if clips.is_dir() else clips.parent).resolve().name
    if writes and not dry_run:
        rows = _transcribe(rows, store, name, *writes)
    table = name if share.count == 1 else None
    report = _dry_run(extraction, rows, store) if dry_run else _run(extraction, rows, store, table)
    report.add_failures(uncut)
    if as_json:
        print_json({"dataset": name, "dry_run": dry_run, **report.as_dict()})
    else:
        _print_report(report, dry_run=dry_run)
        if not dry_run:
            say(f"{store}: {_outcome(report, table)}")
    if report.failed:
        raise typer.Exit(1)


def _policy(nonfinite: str) -> NanPolicy:
    if nonfinite not in _POLICIES:
        raise InputError(f"--nonfinite {nonfinite} is none of {', '.join(_POLICIES)}.")
    return cast("NanPolicy", nonfinite)


def _show_licences(factories: Mapping[str, ExtractorFactory]) -> None:
    from msakit.extraction.extractors import licence_notices

    for notice in licence_notices(options.registry(), (factory.name for factory in factories.values())):
        say(notice)


def _settings(assignments: list[str] | None) -> dict[str, dict[str, Any]]:
    """Modality to settings."""
    from msakit.core.files import parse_value

    settings: dict[str, dict[str, Any]] = {}
    for key, text in parse_pairs("--set", assignments, example="audio.fps=25"):
        modality, _, field = key.partition(".")
        if not field:
            raise ConfigError("--set", [(key, "settings are written MODALITY.SETTING=VALUE")])
        settings.setdefault(modality, {})[field] = parse_value(text)
    return settings


def _factories(
    chosen: Mapping[str, str | None], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, ExtractorFactory]:
    from msakit.extraction.extractors import ExtractorFactory

    names = {modality: name for modality, name in chosen.items() if name}
    if not names:
        hint = "Give --audio NAME, --vision NAME or both. List them with: msakit components list extractor"
        raise InputError("No extractor was given.", hint=hint)
    if stray := sorted(settings.keys() - names.keys()):
        remedy = "text.SETTING needs --transcribe." if "text" in stray else None
        known = ", ".join(f"{modality}.SETTING" for modality in names)
        raise ConfigError("--set", [(stray[0], f"settings are written {known}")], hint=remedy)
    layers = (tuple(options.registry_files), tuple(options.plugin_files))
    return {m: ExtractorFactory(name, settings.get(m, {}), *layers) for m, name in names.items()}


def _cut(
    rows: list[ManifestRow], segmentation: Segmentation | None
) -> tuple[list[ManifestRow], dict[str, str]]:
    """The rows of segments, and why some recordings could not be cut."""
    if segmentation is None:
        return rows, {}
    from msakit.extraction.segments import cut_rows

    with progress_bar() as progress:
        bar = progress.add_task("cutting", total=len(rows), note="")
        segments, uncut = cut_rows(
            rows, segmentation, lambda clip_id: progress.update(bar, advance=1, note=clip_id)
        )
    num_texts = sum(bool(row.text) for row in rows)
    if num_lost := num_texts - sum(bool(row.text) for row in segments):
        say(
            f"The texts of {num_lost} recordings are for the whole, so their segments have none. "
            "--transcribe gives each segment its own words."
        )
    return segments, {recording.clip.clip_id: recording.error for recording in uncut}


def _transcribe(
    rows: Sequence[ManifestRow], store: Path, dataset: str, name: str, settings: Mapping[str, Any]
) -> list[ManifestRow]:
    from msakit.extraction.extractors import make_transcriber
    from msakit.extraction.transcription import stored_transcripts, transcribe_rows
    from msakit.feature_store import FeatureStore

    transcriber = make_transcriber(options.registry(), name, settings)
    known = (
        stored_transcripts(FeatureStore.open(store), dataset, transcriber.engine) if store.exists() else {}
    )
    with progress_bar() as progress:
        bar = progress.add_task("transcribing", total=len(rows), note="")
        return transcribe_rows(
            rows, transcriber, known, lambda clip_id: progress.update(bar, advance=1, note=clip_id)
        )


def _dry_run(extraction: Extraction, rows: Sequence[ManifestRow], store: Path) -> ExtractionReport:
    from msakit.feature_store import FeatureStore

    return extraction.count_stored(rows, FeatureStore.open(store) if store.exists() else None)


def _run(
    extraction: Extraction, rows: Sequence[ManifestRow], store: Path, name: str | None
) -> ExtractionReport:
    from msakit.feature_store import FeatureStore

    opened = FeatureStore.open_or_create(store)
    with progress_bar() as progress:
        bar = progress.add_task("extracting", total=len(rows) * len(extraction.feature_sets), note="")
        return extraction.run(
            rows, opened, name, on_progress=lambda clip_id: progress.update(bar, advance=1, note=clip_id)
        )


def _print_report(report: ExtractionReport, *, dry_run: bool) -> None:
    verb = "to extract" if dry_run else "extracted"
    counts = [(m, str(n), str(report.reused[m])) for m, n in report.extracted.items()]
    print_table("", ("modality", verb, "already stored"), counts, right=(verb, "already stored"))
    for title, problems in (
        ("without sound, picture or face, so absent", report.absent),
        ("with NaN or infinities", report.nonfinite),
        ("failed and left out", report.failed),
    ):
        if problems:
            say(f"{len(problems)} {title}:")
            for problem in problems[:_SHOWN]:
                say(f"  {' '.join(filter(None, (problem.clip_id, problem.modality)))}: {problem.reason}")
            if len(problems) > _SHOWN:
                say(f"  ... and {len(problems) - _SHOWN} more (--json lists all)")


def _outcome(report: ExtractionReport, table: str | None) -> str:
    if report.version is not None:
        num_samples = report.clips - len({problem.clip_id for problem in report.failed})
        return f"{table}, version {report.version}, {num_samples} samples."
    if table is not None:
        return "no table written, as no clip could be extracted."
    return "the features of this shard. Once all are in one store, run the command without --shard."
