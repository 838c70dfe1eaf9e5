"""`msakit push`: a finished run onto the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msakit.cli.completion import runs
from msakit.cli.context import options
from msakit.cli.render import print_text, say
from msakit.cli.settings import parse_pairs
from msakit.core.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit push runs/tgm/seed-1111 my-lab/tgm-mosei --private")
def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.", autocompletion=runs)],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repository; made if need be.")],
    *,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    study: Annotated[
        Path | None, typer.Option(metavar="STUDY", help="Show the other systems of this study on the card.")
    ] = None,
    public: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER=NAME",
            help="What others load in place of a folder of this computer, such as "
            "/models/qwen=hf:Qwen/Qwen3-0.6B; may be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Write the files here and upload nothing."),
    ] = None,
) -> None:
    """Share a run: weights, pipeline, feature recipe, versions and a model card written from the run.

    Predictions, labels, texts, the command line and the paths of this computer are not shared.
    Log in first with: hf auth login
    """
    from msakit.runs.location import parse_repository
    from msakit.workflows.share import Sharing, push_run, share_run

    name, revision = parse_repository(repository)
    if revision:
        raise InputError(f"{repository}: a revision cannot be pushed to.", hint=f"Give {name}.")
    names = dict(parse_pairs("--public", public, example="/models/qwen=hf:Qwen/Qwen3-0.6B"))
    sharing = Sharing(name, names, study)
    if output is not None:
        print_text(str(share_run(run, output, options.registry(), sharing)))
        say(f"Nothing was uploaded. Look at README.md, then: hf upload {name} {output}")
    else:
        print_text(push_run(run, name, options.registry(), sharing, private=private))
