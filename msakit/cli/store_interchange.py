"""`msakit store import`, `export` and `check`: data in, data out, data doctored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.render import print_json, print_table, progress_bar, say
from msakit.feature_store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msakit.core.specs import DatasetSpec
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.doctor import Expectations, Report
    from msakit.feature_store.interchange import ImportReport

StoreOption = Annotated[Path, typer.Option("--store", "-s", help="The store: a folder, created if absent.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PADDING_TEXT = {
    "back": "cut behind",
    "front": "cut before",
    "disagree": "kept (length disagrees)",
    "longer": "already cut",
    "absent": "absent",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the `store` group."""
    app.command(
        "import", epilog="Example: msakit store import unaligned_50.pkl --store feats --dataset mosei"
    )(import_command)
    app.command("export", epilog="Example: msakit store export mosei mosei.pkl --store feats")(export_command)
    app.command("check", epilog="Example: msakit store check mosei --store feats --label-range -3,3")(
        check_command
    )


def import_command(  # noqa: PLR0913 - one argument an option
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pickles, .csd or .csv files; SPLIT=FILE (or ROLE=FILE for .csd) where the name is mute."
        ),
    ] = None,
    *,
    store: StoreOption,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name the dataset gets in the store.")],
    source_format: Annotated[
        str, typer.Option("--format", help="auto, mmsa, mse, csd, npy or csv.")
    ] = "auto",
    nonfinite: Annotated[str, typer.Option(help="NaN and infinities: error, keep or zero.")] = "error",
    dtype: Annotated[str, typer.Option(help="auto, float16, bfloat16, float32 or float64.")] = "auto",
    modality: Annotated[
        list[str] | None, typer.Option(help="Import only this modality; may be repeated.")
    ] = None,
    modality_file: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=FILE (override pickle, .csd) or =FOLDER (.npy a clip); may be repeated."),
    ] = None,
    extractor: Annotated[
        list[str] | None, typer.Option(help="MODALITY=NAME@VERSION of what made it.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="MEANING=COLUMN of a CSV, as in text=Utterance.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of samples that nothing else places.")] = "",
    split_file: Annotated[Path | None, typer.Option(help="CSV of video or id, and split (for .csd).")] = None,
    label_column: Annotated[int, typer.Option(help="Which dimension of .csd labels is the label.")] = 0,
    file_pattern: Annotated[str, typer.Option(help="How .npy files are named.")] = "{id}",
    features_from: Annotated[
        str, typer.Option(help="Dataset of the store whose features are joined by id.")
    ] = "",
    language: Annotated[str, typer.Option(help="Language tag of the texts, such as en.")] = "",
    known_files: Annotated[
        Path | None, typer.Option(help="JSON list of further published checksums.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Add a new version of a dataset that exists.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Import a corpus: MMSA and MSE-Adapter pickles, .csd sequences, .npy folders, CSV dialogues."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.interchange import ImportOptions, import_files

    spec = _spec(dataset)
    wanted = ImportOptions(
        dataset=dataset,
        format=source_format,
        nonfinite=nonfinite,
        dtype=dtype,
        language=language or (spec.language if spec else ""),
        modalities=tuple(modality or ()),
        modality_files={name: Path(value) for name, value in _pairs("--modality-file", modality_file)},
        extractors=dict(_pairs("--extractor", extractor)),
        split=split,
        split_file=split_file,
        columns=dict(_pairs("--column", column)),
        label_column=label_column,
        file_pattern=file_pattern,
        features_from=features_from,
        replace=replace,
        known_files=known_files,
    )
    target = None if dry_run else FeatureStore.open_or_create(store)
    with _progress() as progress:
        report = import_files(target, files or [], wanted, progress)
    if as_json:
        print_json(report.as_json())
        return
    _print_import(report)
    say(
        f"Nothing written (dry run of {store})."
        if dry_run
        else f"{store}: {dataset}, version {report.version}."
    )


def export_command(
    dataset: Annotated[str, typer.Argument(help="Dataset to export.")],
    file: Annotated[Path, typer.Argument(help="MMSA pickle to write.")],
    *,
    store: StoreOption,
    as_json: JsonOption = False,
) -> None:
    """Export a dataset as an MMSA pickle, which imports back to the same data."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.interchange import export_mmsa

    report = export_mmsa(FeatureStore.open(store), dataset, file)
    if as_json:
        print_json(report.as_json())
        return
    rows = [
        (split, key, " x ".join(str(size) for size in shape))
        for split, shapes in report.shapes.items()
        for key, shape in shapes.items()
    ]
    print_table(f"{file}", ("split", "key", "shape"), rows)
    for note in report.notes:
        say(f"Note: {note}")


def check_command(
    dataset: Annotated[str | None, typer.Argument(help="Dataset to check; all when left out.")] = None,
    *,
    store: StoreOption,
    label_range: Annotated[str, typer.Option(help="LOW,HIGH that labels must lie in.")] = "",
    label_step: Annotated[float, typer.Option(help="Grid that labels must lie on, such as 0.2.")] = 0.0,
    language: Annotated[str, typer.Option(help="Language tag the texts must be in.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Examine the data of a store: labels, texts, features, leaks between splits. Exit code 1 on errors."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.doctor import check_dataset

    opened = FeatureStore.open(store)
    given = _read_range(label_range)
    names = [dataset] if dataset else opened.datasets()
    if not names:
        raise StoreError(
            f"{store} has no dataset", "Import one: msakit store import FILE --store ... --dataset NAME"
        )
    with _progress() as progress:
        reports = [
            check_dataset(opened, name, _expect(opened, name, given, label_step, language), progress)
            for name in names
        ]
    if as_json:
        print_json([report.as_json() for report in reports])
    else:
        for report in reports:
            _print_check(report)
    if any(report.num_errors for report in reports):
        raise typer.Exit(1)


def _pairs(option: str, values: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for value in values or ():
        name, sign, rest = value.partition("=")
        if not sign or not name or not rest:
            raise StoreError(f"{option} {value!r} is not NAME=VALUE", f"As in {option} audio=...")
        pairs.append((name, rest))
    return pairs


def _expect(
    store: FeatureStore,
    dataset: str,
    label_range: tuple[float, float] | None,
    label_step: float,
    language: str,
) -> Expectations:
    """What the options say about a dataset, then its table, then the registry."""
    from msakit.feature_store.doctor import Expectations

    spec = _spec(dataset)
    if spec is not None:
        label_range = label_range or spec.label_range
        if not language and not any(store.table(dataset).language):
            language = spec.language
    return Expectations(label_range, label_step, language)


def _spec(dataset: str) -> DatasetSpec | None:
    return next((spec for spec in options.registry().datasets() if spec.name == dataset), None)


def _read_range(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise StoreError(f"--label-range {text!r} is not LOW,HIGH", "As in --label-range -3,3") from error
    return low, high


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A callback that moves one bar on stderr, a task for each thing done."""
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, note="")
            bar.update(tasks[what], completed=done)

        yield move
        for task in bar.tasks:
            bar.update(task.id, completed=task.total)


def _print_import(report: ImportReport) -> None:
    for source in report.sources:
        known = source.known or "not a published file known here"
        say(f"{source.path}: {known} (SHA-256 {source.sha256[:16]}...)")
    print_table("Samples", tuple(report.splits), [tuple(str(count) for count in report.splits.values())])
    if report.modalities:
        columns = (
            "modality",
            "width",
            "type",
            "present",
            "frames",
            "longest",
            "padding",
            "NaN",
            "inf",
            "-inf",
        )
        right = ("width", "present", "frames", "longest", "NaN", "inf", "-inf")
        rows = [_import_row(name, item) for name, item in report.modalities.items()]
        print_table("Features", columns, rows, right=right)
    for note in report.notes:
        say(f"Note: {note}")
    if report.ignored:
        say(f"Not read: {', '.join(report.ignored)}")


def _import_row(name: str, item: dict[str, Any]) -> tuple[str, ...]:
    verdicts: dict[str, int] = {}
    for split in item["padding"].values():
        for verdict, text in PADDING_TEXT.items():
            if split.get(verdict):
                verdicts[text] = verdicts.get(text, 0) + split[verdict]
    padding = ", ".join(f"{count} {text}" for text, count in verdicts.items()) or "none"
    counts = (item[key] for key in ("nan", "inf", "negative_inf"))
    measured = (item["present"], item["frames"], item["longest"])
    return (name, str(item["width"]), item["dtype"], *map(str, measured), padding, *map(str, counts))


def _print_check(report: Report) -> None:
    rows = [
        (item.severity, item.code, item.where, str(item.count), f"{item.message} {item.remedy}")
        for item in report.findings
    ]
    counts = f"{report.num_samples} samples, {report.num_errors} errors, {report.num_warnings} warnings"
    title = f"{report.dataset}: {counts}"
    print_table(
        title, ("severity", "finding", "where", "count", "what and what to do"), rows, right=("count",)
    )
