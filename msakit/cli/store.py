"""`msakit store`: inspect and maintain feature stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli import store_interchange, store_upkeep
from msakit.cli.places import StoreArgument
from msakit.cli.render import print_error, print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson

if TYPE_CHECKING:
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.upkeep.validation import Validation

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Create, fill, inspect and repair feature stores.",
    epilog="Example: msakit store ls feats",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

MAX_KEYS_SHOWN = 3


@app.command("ls", epilog="Example: msakit store ls feats")
def list_command(store: StoreArgument, *, as_json: AsJson = False) -> None:
    """List datasets and feature sets. Exit code 1 when one of them cannot be read."""
    from msakit.feature_store.upkeep.description import describe_store

    content = describe_store(_open(store))
    lines = content["datasets"] + content["feature_sets"]
    if as_json:
        print_json(content)
    else:
        _print_listing(content)
        for item in lines:
            if "error" in item:
                print_error(item["error"], item["hint"])
    if any("error" in item for item in lines):
        raise typer.Exit(1)


@app.command("info", epilog="Example: msakit store info feats demo")
def info_command(
    store: StoreArgument,
    name: Annotated[str, typer.Argument(help="A dataset, or the beginning of a fingerprint.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show everything about one dataset or feature set: sizes, settings, who made it with what."""
    from msakit.feature_store.upkeep.description import describe_dataset, describe_feature_set

    opened = _open(store)
    describe = describe_dataset if name in opened.datasets() else describe_feature_set
    content = describe(opened, name)
    if as_json:
        print_json(content)
        return
    print_table(name, ("what", "value"), [(key, text) for key, text in _flat(content)])


@app.command("validate", epilog="Example: msakit store validate feats --deep")
def validate_command(
    store: StoreArgument,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte against its checksum.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put damaged files aside and keep their good samples.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a store for damage. Exit code 1 when something is damaged."""
    from msakit.feature_store.upkeep.validation import validate_store

    with progress_bar() as bar:
        task = bar.add_task("bytes checked", total=None, note="")
        result = validate_store(
            _open(store), deep=deep, repair=repair, progress=lambda count: bar.advance(task, count)
        )
        bar.update(task, visible=False)
    if as_json:
        print_json(result.document())
    else:
        _print_validation(store, result, deep=deep)
    if result.damaged:
        raise typer.Exit(1)


def _open(path: Path) -> FeatureStore:
    from msakit.feature_store import FeatureStore

    return FeatureStore.open(path)


def _print_listing(content: dict[str, Any]) -> None:
    rows = [_dataset_row(item) for item in content["datasets"] if "error" not in item]
    columns = ("dataset", "version", "samples", "splits", "modalities")
    print_table("Datasets", columns, rows, right=("version", "samples"))
    shown = ("feature set", "modality", "extractor", "width", "dtype", "shift s", "samples", "shards", "MB")
    rows = [_feature_set_row(item) for item in content["feature_sets"] if "error" not in item]
    print_table("Feature sets", shown, rows, right=shown[3:4] + shown[5:])
    if count := len(content["quarantined"]):
        say(
            f"{count} {'file was' if count == 1 else 'files were'} put aside as damaged: "
            f"`msakit store validate {content['path']}` says what is in there."
        )


def _dataset_row(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        item["dataset"],
        str(item["version"]),
        str(item["samples"]),
        " ".join(f"{name}:{count}" for name, count in item["splits"].items()),
        " ".join(f"{name}:{count}" for name, count in item["present"].items()) or "text only",
    )


def _feature_set_row(item: dict[str, Any]) -> tuple[str, ...]:
    shift = item["frame_shift_s"]
    return (
        item["fingerprint"][:12],
        item["modality"],
        item["extractor"],
        str(item["width"]),
        item["dtype"],
        "-" if shift is None else f"{shift:g}",
        str(item["samples"]),
        str(item["shards"]),
        f"{item['bytes'] / 1e6:.1f}",
    )


def _print_validation(store: Path, result: Validation, *, deep: bool) -> None:
    rows = []
    for finding in result.findings:
        keys = ", ".join(finding.keys[:MAX_KEYS_SHOWN])
        more = f" and {len(finding.keys) - MAX_KEYS_SHOWN} more" if len(finding.keys) > MAX_KEYS_SHOWN else ""
        rows.append((finding.level, finding.code, finding.path, finding.message, keys + more))
    if rows:
        print_table("Findings", ("level", "what", "where", "message", "samples"), rows)
    checked = "every byte" if deep else "structure"
    say(
        f"{store}: {result.num_samples} samples in {result.num_shards} shards, "
        f"{result.num_bytes / 1e6:.1f} MB, {checked} checked: {'DAMAGED' if result.damaged else 'whole'}"
    )
    for path in result.repaired:
        say(f"Repaired: {path}")


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, item in enumerate(value):
                rows += _flat(item, f"{prefix}{key}[{number}].")
        else:
            rows.append((prefix + key, str(value)))
    return rows


store_upkeep.register(app)
store_interchange.register(app)
