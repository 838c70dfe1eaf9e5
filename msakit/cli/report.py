"""`msakit report`: one HTML file about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msakit.cli.render import print_json, print_text
from msakit.cli.settings import AsJson

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit report runs/tgm --output tgm.html")
def report(
    run: Annotated[Path, typer.Argument(help="An evaluated run.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write. [default: RUN/report.html]")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split to show. [default: test if it was evaluated]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an HTML report of a run: metrics, curves, predictions, calibration, diagnostics of the fusion.

    The file stands alone: it fetches nothing when it is opened, and can be mailed as it is.
    """
    from msakit.reports.report import write_report

    path = write_report(run, output or run / "report.html", split=split)
    if as_json:
        print_json({"report": str(path)})
    else:
        print_text(str(path))
