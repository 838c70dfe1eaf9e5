"""The table of commands, and a group that lists them without importing them."""

from __future__ import annotations

import importlib
import traceback
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from msakit.cli.context import options
from msakit.cli.failures import explain
from msakit.core.errors import Interrupted, PluginError
from msakit.core.registry.containment import describe_failure, stdout_kept

PLUGIN_GROUP = "msakit.commands"
INTERRUPTED = 130
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]  # of the click that typer brings, which varies

# name: (module that holds the Typer app `app`, one line for the listing)
COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": ("msakit.cli.quickstart", "Train and evaluate on the shipped corpus and backbone."),
    "build": ("msakit.cli.build", "Assemble a pipeline and count its parameters."),
    "train": ("msakit.cli.train", "Train a pipeline."),
    "evaluate": ("msakit.cli.evaluate", "Evaluate a trained run: predictions and metrics."),
    "predict": ("msakit.cli.predict", "Predict from media files, text or stored samples."),
    "demo": ("msakit.cli.demo", "Serve a page on which a run answers for clips."),
    "compare": ("msakit.cli.compare", "Compare runs."),
    "verify": ("msakit.cli.verify", "Check a run's results against its files."),
    "diagnose": ("msakit.cli.diagnose", "Look inside a run: modalities, gate, experts, attention."),
    "robustness": ("msakit.cli.robustness", "Measure a run with modalities missing."),
    "sweep": ("msakit.cli.sweep", "Run a grid of settings over seeds on the validation split."),
    "report": ("msakit.cli.report", "Write an HTML report of a run or a study."),
    "push": ("msakit.cli.push", "Share a run on the Hugging Face hub."),
    "pull": ("msakit.cli.pull", "Copy a shared run from the Hugging Face hub."),
    "extract": ("msakit.cli.extract", "Extract features from media into a store."),
    "store": ("msakit.cli.store", "Create, fill, inspect and repair feature stores."),
    "inspect": ("msakit.cli.inspect", "Inspect prompts, pipelines and samples."),
    "components": ("msakit.cli.components", "List and describe components, backbones, datasets and recipes."),
    "plugins": ("msakit.cli.plugins", "List, check and create plugins."),
}


def load_command(name: str) -> Any:
    """Import a command and turn it into what Typer runs."""
    if name in COMMANDS:
        application = importlib.import_module(COMMANDS[name][0]).app
    else:
        entry = next(entry for entry in entry_points(group=PLUGIN_GROUP) if entry.name == name)
        try:
            with stdout_kept():
                application = entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            owner = entry.dist.name if entry.dist else "a plugin"
            msg = f"The command '{name}' of {owner} cannot be loaded: {describe_failure(error)}"
            raise PluginError(msg) from error
    command = typer.main.get_command(application)
    command.name = name
    _name_values(command)
    return command


def _name_values(command: Any) -> None:
    """Call each value by its name, `STORE` in `--store STORE`, and a count `N`; choices are listed."""
    for child in getattr(command, "commands", {}).values():
        _name_values(child)
    for parameter in command.params:
        kind = parameter.type_descriptor
        if parameter.metavar or getattr(parameter, "is_flag", False) or kind.is_choice:
            continue
        name = max(parameter.opts, key=len).lstrip("-").replace("-", "_").upper()
        parameter.metavar = "N" if kind.annotation is int else name


class LazyGroup(TyperGroup):
    """Knows its commands by name; imports one when it is run. Turns user errors into exit codes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=summary)
        for entry in entry_points(group=PLUGIN_GROUP):
            origin = entry.dist.name if entry.dist else "a plugin"
            self.commands.setdefault(entry.name, TyperCommand(entry.name, help=f"From the plugin {origin}."))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command named first in `args`, and import it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Run; what a user can act on is printed without a traceback and sets the exit code."""
        try:
            return super().invoke(ctx)
        except Interrupted as error:
            _print_error(error.message, error.hint)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            _print_error("Interrupted.", "No file is half-written.")
            raise typer.Exit(INTERRUPTED) from error
        except (typer.Exit, typer.Abort, _UsageError, BrokenPipeError):
            raise
        except BaseException as error:
            if options.traceback:
                traceback.print_exc()
            failure = explain(error)
            _print_error(failure.message, failure.hint)
            raise typer.Exit(failure.exit_code) from error


def _print_error(message: str, hint: str | None) -> None:
    from msakit.cli.render import print_error  # rich is not needed until there is something to say

    print_error(message, hint)
