"""The `msakit` command."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

import msakit
from msakit.cli.commands import LazyGroup
from msakit.cli.context import options
from msakit.core.trust import trust_remote_code
from msakit.training.interruption import interrupt

app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,  # plain help: rich's costs more than the rest of the start-up
    help="Teach a large language model to hear and see: multimodal sentiment analysis and emotion "
    "recognition.",
    epilog="Start with: msakit quickstart",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"msakit {msakit.__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    *,
    registry: Annotated[
        list[Path] | None, typer.Option(help="A registry.yaml that wins over all others; may be repeated.")
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file to load as a plugin; may be repeated.")
    ] = None,
    trusted: Annotated[
        list[str] | None,
        typer.Option(
            "--trust-remote-code",
            metavar="REPO",
            help="Let code that comes with this model run: ORG/NAME, ORG/NAME@REVISION or ./folder; may be "
            "repeated. No file can grant this.",
        ),
    ] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _show_version(wanted=value),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Remember the options that stand before the command."""
    options.registry_files = list(registry or ())
    options.plugin_files = list(plugin or ())
    options.trusted = list(trusted or ())
    options.traceback = traceback
    trust_remote_code(*options.trusted)


def main() -> None:
    """Run the command line; SIGTERM interrupts it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, interrupt)
    app(prog_name="msakit")
