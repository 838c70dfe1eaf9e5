"""`msakit report`: one HTML file about a run or a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msakit.cli.places import RunOrStudy
from msakit.cli.render import print_json, print_text
from msakit.cli.settings import AsJson

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit report runs/tgm --output tgm.html")
def report(
    path: RunOrStudy,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file to write. [default: report.html in it]"
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split to show. [default: test if it was evaluated]")
    ] = None,
    media: Annotated[
        Path | None,
        typer.Option(help="Folder with a file SAMPLE.mp4, or .wav, ..., for samples to be seen and heard."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an HTML report: metrics, curves, predictions, calibration, errors, the inside of the fusion.

    Of a study, all systems and seeds stand side by side with intervals, and the table is there for a paper.
    The file stands alone: it fetches nothing when it is opened, and can be mailed as it is.
    """
    from msakit.reports.report import write_report

    written = write_report(path, output or path / "report.html", split=split, media=media)
    if as_json:
        print_json({"report": str(written)})
    else:
        print_text(str(written))
