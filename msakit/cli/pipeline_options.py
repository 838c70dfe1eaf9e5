"""Options that name the parts of a pipeline, as `build` and `train` take them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreName = Annotated[
    str,
    typer.Option("--store", metavar="STORE", help="A folder, an .h5 file, or demo, the shipped store."),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="RUN", help="The run directory. [default: runs/ and the file's name]"
    ),
]
RecipeName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Start from a paper's settings (components list recipe).")
]
DatasetName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Task, labels, prompts and feature widths; or a dataset of the store."),
]
EncoderNames = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="The encoder of every modality, or MODALITY=NAME for one; may be repeated.",
    ),
]
FuserName = Annotated[
    str | None, typer.Option(metavar="NAME", help="The fuser: combines text and modalities.")
]
InjectorName = Annotated[
    str | None, typer.Option(metavar="NAME", help="The token injector: makes the pseudo tokens.")
]
BackboneName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The language model: a name, hf:ORG/NAME, or a folder."),
]


def named(**choices: str | None) -> dict[str, str]:
    """The options that were given, by name."""
    return {key: name for key, name in choices.items() if name}
