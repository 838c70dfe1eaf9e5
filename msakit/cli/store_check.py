"""`msakit store check`: find problems in a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.places import StoreArgument
from msakit.cli.render import print_json, print_table
from msakit.cli.settings import AsJson
from msakit.cli.store_progress import store_progress
from msakit.feature_store.errors import StoreError

if TYPE_CHECKING:
    from msakit.feature_store import FeatureStore
    from msakit.feature_store.doctor import Expectations, Report


def check_command(
    store: StoreArgument,
    dataset: Annotated[str | None, typer.Argument(help="Dataset to check; all when left out.")] = None,
    *,
    label_range: Annotated[str, typer.Option(metavar="LOW,HIGH", help="Range that labels must lie in.")] = "",
    label_step: Annotated[float, typer.Option(help="Grid that labels must lie on, such as 0.2.")] = 0.0,
    language: Annotated[str, typer.Option(help="Language tag the texts must be in.")] = "",
    as_json: AsJson = False,
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
    with store_progress() as progress:
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


def _expect(
    store: FeatureStore,
    dataset: str,
    label_range: tuple[float, float] | None,
    label_step: float,
    language: str,
) -> Expectations:
    """Expectations from the options, then the dataset's table, then the registry."""
    from msakit.feature_store.doctor import Expectations

    spec = next((spec for spec in options.registry().datasets() if spec.name == dataset), None)
    if spec is not None:
        label_range = label_range or spec.label_range
        if not language and not any(store.table(dataset).language):
            language = spec.language
    return Expectations(label_range, label_step, language)


def _read_range(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise StoreError(f"--label-range {text!r} is not LOW,HIGH", "As in --label-range -3,3") from error
    if not low < high:
        raise StoreError(f"--label-range {text!r} is no range: LOW must be below HIGH", "As in -3,3")
    return low, high


def _print_check(report: Report) -> None:
    rows = [
        (item.severity, item.code, item.where, str(item.count), f"{item.message} {item.remedy}")
        for item in report.findings
    ]
    counts = f"{report.num_samples} samples, errors: {report.num_errors}, warnings: {report.num_warnings}"
    title = f"{report.dataset}: {counts}"
    print_table(
        title, ("severity", "finding", "where", "count", "what and what to do"), rows, right=("count",)
    )
