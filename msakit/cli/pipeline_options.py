"""Options that name the parts of a pipeline, as `build` and `train` take them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msakit.cli import completion
from msakit.core.registry.specs import Kind

PipelineFile = Annotated[Path, typer.Argument(metavar="PIPELINE", help="A pipeline file.")]
RecipeName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Start from a paper's settings (components list recipe).",
        autocompletion=completion.recipes,
    ),
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Task, labels, prompts and feature widths; or a dataset of the store.",
        autocompletion=completion.datasets,
    ),
]
EncoderNames = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="The encoder of every modality, or MODALITY=NAME for one; may be repeated.",
        autocompletion=completion.encoders,
    ),
]
FuserName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The fuser: combines text and modalities.",
        autocompletion=completion.names_of(Kind.FUSER),
    ),
]
InjectorName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The token injector: makes the pseudo tokens.",
        autocompletion=completion.names_of(Kind.INJECTOR),
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The language model: a name, hf:ORG/NAME, or a folder.",
        autocompletion=completion.names_of(Kind.BACKBONE),
    ),
]


def named(**choices: str | None) -> dict[str, str]:
    """The options that were given, by name."""
    return {key: name for key, name in choices.items() if name}
