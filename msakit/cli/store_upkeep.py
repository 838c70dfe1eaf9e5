"""`msakit store merge`, `select`, `compact`, `rm`, `gc` and `recover`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.completion import stores
from msakit.cli.journal_options import NoLocks, WalDir, writer_options
from msakit.cli.places import StoreArgument
from msakit.cli.render import print_json, print_table, say
from msakit.cli.settings import AsJson
from msakit.feature_store.errors import StoreError

if TYPE_CHECKING:
    from msakit.feature_store.table import SampleTable
    from msakit.feature_store.upkeep.copying import CopyReport
    from msakit.feature_store.upkeep.garbage import Garbage

FolderArgument = Annotated[
    Path, typer.Argument(metavar="STORE", help="The store: a folder.", autocompletion=stores)
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and do nothing.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the `store` group."""
    add = app.command
    add("merge", epilog="Example: msakit store merge all feats-a feats-b demo.h5")(merge_command)
    add("select", epilog="Example: msakit store select feats small --dataset demo --split test")(
        select_command
    )
    add("compact", epilog="Example: msakit store compact feats --dry-run")(compact_command)
    add("rm", epilog="Example: msakit store rm feats demo --modality vision --dry-run")(remove_command)
    add("gc", epilog="Example: msakit store gc feats --unreferenced --dry-run")(collect_command)
    add("recover", epilog="Example: msakit store recover feats")(recover_command)


def merge_command(
    target: Annotated[Path, typer.Argument(help="Store to copy into; created if absent.")],
    sources: Annotated[list[Path], typer.Argument(help="Stores to copy from: folders or .h5 files.")],
    *,
    dry_run: DryRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Copy what other stores have and this one lacks. Datasets of the same name become new versions."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.copying import merge_stores

    opened = [FeatureStore.open(path) for path in sources]
    if dry_run and not target.exists():
        raise StoreError(
            f"there is no store at {target} to compare with", "Leave --dry-run out to create it."
        )
    report = merge_stores(FeatureStore.open_or_create(target), opened, dry_run=dry_run)
    _print_copy(target, report, dry_run=dry_run, as_json=as_json)


def select_command(
    store: StoreArgument,
    target: Annotated[Path, typer.Argument(help="New store to write.")],
    *,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Dataset to select from.")],
    split: Annotated[list[str] | None, typer.Option(help="Keep this split; may be repeated.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Keep samples with this value; all conditions must hold."),
    ] = None,
    ids: Annotated[Path | None, typer.Option(help="Keep the ids listed in this file, one per line.")] = None,
    dry_run: DryRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Copy part of a dataset, with its features, into a new store."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.copying import copy_selection
    from msakit.feature_store.upkeep.selection import matching_rows, read_ids

    source = FeatureStore.open(store)
    table: SampleTable = source.table(dataset)
    wanted = read_ids(ids) if ids else None
    rows = matching_rows(table, splits=split or (), where=where or (), ids=wanted)
    if dry_run:
        if as_json:
            print_json({"selected": len(rows), "samples": len(table)})
        else:
            say(f"{len(rows)} of {len(table)} samples would be copied to {target}.")
        return
    report = copy_selection(source, FeatureStore.create(target), {dataset: table.select(rows)})
    _print_copy(target, report, dry_run=False, as_json=as_json)


def compact_command(
    store: FolderArgument,
    *,
    small_mb: Annotated[float, typer.Option(help="Merge shards smaller than this.")] = 64.0,
    dry_run: DryRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Merge small shards and drop duplicates."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.maintenance import compact

    reports = compact(FeatureStore.open(store), small_bytes=small_mb * 1e6, dry_run=dry_run)
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    rows = [
        (
            r.fingerprint[:12],
            str(len(r.merged)),
            str(len(r.written)),
            str(r.num_duplicates),
            str(r.num_conflicts),
        )
        for r in reports
    ]
    columns = ("feature set", "merged", "written", "duplicates", "conflicts")
    print_table("Would merge" if dry_run else "Merged", columns, rows, right=columns[1:])
    say("Old shards are kept for an hour for readers; then `msakit store gc` removes them.")


def remove_command(
    store: FolderArgument,
    dataset: Annotated[str, typer.Argument(help="Dataset to remove.")],
    *,
    modality: Annotated[str, typer.Option(help="Remove only this modality from the dataset.")] = "",
    dry_run: DryRunOption = False,
) -> None:
    """Remove a dataset, or one modality of it. Features stay until `gc --unreferenced`."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.maintenance import remove_dataset, remove_modality

    opened = FeatureStore.open(store)
    verb = "Would remove" if dry_run else "Removed"
    if modality:
        count = remove_modality(opened, dataset, modality, dry_run=dry_run)
        say(f"{verb} {modality} of {count} samples from {dataset}, as a new version of its table.")
    else:
        garbage = remove_dataset(opened, dataset, dry_run=dry_run)
        say(f"{verb} {garbage.paths[0]} ({garbage.num_bytes / 1e6:.1f} MB).")
    say(f"Features no dataset uses any more: msakit store gc {store} --unreferenced --dry-run")


def collect_command(
    store: FolderArgument,
    *,
    unreferenced: Annotated[
        bool, typer.Option("--unreferenced", help="Also remove feature sets that no current table names.")
    ] = False,
    grace_min: Annotated[
        float, typer.Option(help="Keep anything compacted or changed within this many minutes.")
    ] = 60.0,
    dry_run: DryRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Remove compacted shards and, if asked, feature sets that no dataset uses and nobody is filling."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.garbage import collect_garbage, find_garbage

    opened = FeatureStore.open(store)
    garbage: Garbage = find_garbage(opened, unreferenced=unreferenced, grace_s=grace_min * 60)
    if not dry_run:
        collect_garbage(opened, garbage)
    if as_json:
        kept = {str(path): reason for path, reason in garbage.kept.items()}
        paths = [str(path) for path in garbage.paths]
        print_json({"paths": paths, "bytes": garbage.num_bytes, "kept": kept})
        return
    for path, reason in garbage.kept.items():
        say(f"Kept {path}: {reason}.")
    for path in garbage.paths:
        say(f"{'Would remove' if dry_run else 'Removed'} {path}")
    say(f"{garbage.num_bytes / 1e6:.1f} MB in {len(garbage.paths)} files and folders.")


def recover_command(
    store: FolderArgument,
    *,
    wal_dir: WalDir = None,
    no_locks: NoLocks = False,
    adopt_foreign: Annotated[
        bool,
        typer.Option("--adopt-foreign", help="Include journals of other machines whose writers are dead."),
    ] = False,
    older_than_min: Annotated[float, typer.Option(help="... untouched for this many minutes.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Recover samples from the journals of writers that died."""
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.maintenance import recover

    writing = writer_options(wal_dir, no_locks)
    found = recover(
        FeatureStore.open(store),
        wal_dir=writing.wal_dir,
        locking=writing.locking,
        foreign_older_than_s=older_than_min * 60 if adopt_foreign else None,
    )
    if as_json:
        print_json({fingerprint: asdict(recovery) for fingerprint, recovery in found.items()})
        return
    columns = ("feature set", "sealed", "samples", "alive", "foreign", "quarantined", "bytes damaged")
    rows = [
        (
            fingerprint[:12],
            *map(str, (len(r.sealed), r.num_samples, len(r.alive), len(r.foreign), len(r.quarantined))),
            str(r.damaged_bytes),
        )
        for fingerprint, r in found.items()
    ]
    print_table("Journals", columns, rows, right=columns[1:])
    for r in found.values():
        for name in r.newer:
            say(f"{name} was written by a newer msakit; open the store with that one.")
        for name in r.quarantined:
            say(f"{name} was put aside as damaged: `msakit store validate {store}` says what is in it.")


def _print_copy(target: Path, report: CopyReport, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    rows = [(fingerprint[:12], str(count)) for fingerprint, count in report.samples.items()]
    print_table("Would copy" if dry_run else "Copied", ("feature set", "samples"), rows, right=("samples",))
    tables = ", ".join(report.tables) or "none"
    say(f"{target}: {report.num_bytes / 1e6:.1f} MB of features; tables: {tables}.")
