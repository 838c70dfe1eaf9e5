"""`msakit store import` and `export`; registers `check` with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli import store_import_options as given
from msakit.cli.context import options
from msakit.cli.journal_options import NoLocks, WalDir, writer_options
from msakit.cli.places import StoreArgument
from msakit.cli.render import print_json, print_table, say
from msakit.cli.settings import AsJson, parse_pairs
from msakit.cli.store_check import check_command
from msakit.cli.store_progress import store_progress
from msakit.feature_store.errors import StoreError

if TYPE_CHECKING:
    from msakit.core.registry.specs import DatasetSpec
    from msakit.feature_store.interchange import ImportReport

PADDING_TEXT = {
    "back": "cut behind",
    "front": "cut before",
    "disagree": "kept (length disagrees)",
    "longer": "already cut",
    "absent": "absent",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the `store` group."""
    for name, command, example in (
        ("import", import_command, "import unaligned_50.pkl --store feats --dataset mosei"),
        ("export", export_command, "export feats mosei.pkl --dataset mosei"),
        ("check", check_command, "check feats mosei --label-range -3,3"),
    ):
        app.command(name, epilog=f"Example: msakit store {example}")(command)


def import_command(
    files: given.Files = None,
    *,
    store: given.Store,
    dataset: given.Dataset,
    source_format: given.Format = "auto",
    nonfinite: given.Nonfinite = "error",
    dtype: given.Dtype = "auto",
    modality: given.Modalities = None,
    modality_file: given.ModalityFiles = None,
    extractor: given.Extractors = None,
    column: given.Columns = None,
    split: given.Split = "",
    split_file: given.SplitFile = None,
    label_column: given.LabelColumn = 0,
    file_pattern: given.FilePattern = "{id}",
    features_from: given.FeaturesFrom = "",
    language: given.Language = "",
    known_files: given.KnownFiles = None,
    replace: given.Replace = False,
    wal_dir: WalDir = None,
    no_locks: NoLocks = False,
    dry_run: given.DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import a corpus: MMSA and MSE-Adapter pickles, .csd sequences, .npy folders, CSV dialogues."""
    from msakit.feature_store.interchange import ImportOptions, import_files

    spec = _spec(dataset)
    modality_paths = parse_pairs("--modality-file", modality_file, example="audio=audio.csd")
    wanted = ImportOptions(
        dataset=dataset,
        format=source_format,
        nonfinite=nonfinite,
        dtype=dtype,
        language=language or (spec.language if spec else ""),
        modalities=tuple(modality or ()),
        modality_files={name: Path(value) for name, value in modality_paths},
        extractors=dict(parse_pairs("--extractor", extractor, example="audio=covarep")),
        split=split,
        split_file=split_file,
        columns=dict(parse_pairs("--column", column, example="text=Utterance")),
        label_column=label_column,
        file_pattern=file_pattern,
        features_from=features_from,
        replace=replace,
        known_files=known_files,
        writing=writer_options(wal_dir, no_locks),
    )
    with store_progress() as progress:
        report = import_files(store, files or [], wanted, progress, dry_run=dry_run)
    if as_json:
        print_json(report.as_json())
        return
    _print_import(report)
    _print_written(store, dataset, report.version, is_known=spec is not None)


def export_command(
    store: StoreArgument,
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
    *,
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="The dataset, if the store has several.")
    ] = "",
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Write a read-only store file instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export a dataset as an MMSA pickle, which imports back to the same data, or as a single-file store."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.interchange import export_mmsa

    opened = FeatureStore.open(store)
    names = [dataset] if dataset else opened.datasets()
    if single_file:
        opened.export_single_file(file, names)
        if as_json:
            print_json({"file": str(file), "datasets": names})
        else:
            say(f"{file}: {', '.join(names)}")
        return
    if len(names) != 1:
        raise StoreError(f"{store} has {len(names)} datasets", f"Name one with --dataset: {', '.join(names)}")
    report = export_mmsa(opened, names[0], file)
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


def _spec(dataset: str) -> DatasetSpec | None:
    return next((spec for spec in options.registry().datasets() if spec.name == dataset), None)


def _print_written(store: Path, dataset: str, version: int, *, is_known: bool) -> None:
    """Say what was written: version 0 is a dry run."""
    if not version:
        say(f"Nothing written (dry run of {store}).")
        return
    say(f"{store}: {dataset}, version {version}.")
    if not is_known:
        _print_entry(store, dataset)


def _print_entry(store: Path, dataset: str) -> None:
    """Say how the dataset is used, and what a registry file would have to say of it."""
    from msakit.core.errors import DataError
    from msakit.core.files import dump_yaml
    from msakit.samples.stored_dataset import describe_stored

    try:
        entry = describe_stored(store, dataset)
    except DataError as error:
        say(f"Note: {error}")
        return
    say(
        f"Use it as it is: msakit build --dataset {dataset} --store {store}, and the same with train. "
        f"To change how it is described, put this into a registry.yaml:\n\n{dump_yaml({'datasets': [entry]})}"
    )


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
