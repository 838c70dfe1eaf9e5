"""`msakit verify`: check that a run's figures still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.places import OtherStore, RunOrStudyName
from msakit.cli.render import print_json, print_table, say
from msakit.cli.settings import AsJson

if TYPE_CHECKING:
    from msakit.workflows.verify import Check, Verification

LONGEST = 40

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit verify runs/tgm")
def verify(
    run: RunOrStudyName,
    *,
    store: OtherStore = None,
    ignore_versions: Annotated[
        bool, typer.Option("--ignore-versions", help="Accept other versions of Python and packages.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score stored predictions again, and compare files, data, features and versions with the record.

    Exit code 1 where anything differs. Data whose store is gone is not compared, and said so.
    """
    from msakit.runs.location import locate_run
    from msakit.workflows.verify import verify as verify_runs

    found = verify_runs(locate_run(run), options.registry(), store=store, with_versions=not ignore_versions)
    if as_json:
        print_json([_as_json(verification) for verification in found])
    else:
        for verification in found:
            _print(verification)
    if any(verification.differences for verification in found):
        raise typer.Exit(1)


def _as_json(found: Verification) -> dict[str, Any]:
    def entries(checks: list[Check]) -> list[dict[str, Any]]:
        return [{"what": one.what, "recorded": one.recorded, "found": one.found} for one in checks]

    return {
        "run": str(found.run),
        "checked": len(found.checks) - len(found.unchecked),
        "differences": entries(found.differences),
        "not_compared": entries(found.unchecked),
    }


def _print(found: Verification) -> None:
    checked, differing = len(found.checks) - len(found.unchecked), found.differences
    say(f"{found.run}: {checked - len(differing)} of {checked} as recorded.")
    for check in found.unchecked:
        say(f"  {check.what}: {check.found}")
    if differing:
        rows = [(one.what, _short(one.recorded), _short(one.found)) for one in differing]
        print_table("", ("differs", "recorded", "found"), rows)


def _short(value: Any) -> str:
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
