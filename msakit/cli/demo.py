"""`msakit demo`: a page for the browser on which a run answers."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from msakit.cli.context import options
from msakit.cli.media_options import TrainedRunName
from msakit.cli.render import print_text, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_LOCAL = "127.0.0.1"


@app.command(epilog="Example: msakit demo runs/quickstart/mse-adapter/seed-1111 --open")
def demo(
    run: TrainedRunName,
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Listen on this address; 0.0.0.0 lets others in.")
    ] = _LOCAL,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="[default: the first free one from 7860 on]")
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    transcriber: Annotated[
        str, typer.Option(metavar="NAME", help="Writes down what is said (components list transcriber).")
    ] = "whisper",
) -> None:
    """Serve a page on which a run answers for clips: upload, microphone or webcam.

    It shows the answer with its distribution, what each modality contributed, and where the fuser attended.
    The page is on this computer alone, asks nobody else for anything, and keeps no upload. Ctrl-C ends it.
    """
    from msakit.demo.page import require_gradio, serve
    from msakit.demo.respondent import Respondent
    from msakit.runs.location import locate_run
    from msakit.runs.results import run_folders
    from msakit.workflows.load import load_run

    require_gradio()  # before the model is loaded, which takes long
    registry = options.registry()
    trained = load_run(run_folders(locate_run(run))[0], registry)
    respondent = Respondent(trained, registry, transcriber)
    if host != _LOCAL:
        say(f"Whoever reaches {host} can use this page: it asks for no password.")

    def tell(address: str) -> None:
        print_text(address)
        sys.stdout.flush()
        say("Ctrl-C ends it.")
        if browser:
            webbrowser.open(address)

    try:
        serve(respondent, host=host, port=port, on_ready=tell)
    except KeyboardInterrupt:
        say("Stopped; uploads are removed.")
