"""`msakit pull`: a shared run from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msakit.cli.render import print_text, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit pull my-lab/tgm-mosei --output runs/theirs")
def pull(
    repository: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The repository; ORG/NAME@REVISION for a fixed state.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="RUN", help="[default: runs/NAME]")
    ] = None,
) -> None:
    """Copy a shared run here; its README.md says what it is. Nothing in it is executed."""
    from msakit.runs.location import parse_repository
    from msakit.workflows.share import pull_run

    name, _ = parse_repository(repository)
    folder = pull_run(repository, output or Path("runs") / name.partition("/")[2])
    print_text(str(folder))
    say(f'Next: msakit predict {folder} CLIP.mp4 --text "what is said in it"')
