"""Runs and stores, as several commands take them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from msakit.cli.completion import runs, stores
from msakit.samples.location import locate_store


def _located(store: Path | None) -> Path | None:
    return None if store is None else locate_store(store)


def _store_option(explained: str) -> Any:
    return typer.Option("--store", metavar="STORE", help=explained, callback=_located, autocompletion=stores)


RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run directory; of a folder of seeds, its first run.", autocompletion=runs
    ),
]
RunOrSeeds = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run, or a folder of runs seed-<n>.", autocompletion=runs)
]
RunOrStudy = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run, a folder of seeds, or the folder of a study.", autocompletion=runs
    ),
]
RunOrStudyName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run, a folder of seeds, the folder of a study, or ORG/NAME on the Hugging Face hub.",
        autocompletion=runs,
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="RUN", help="The run directory. [default: runs/ and the file's name]"
    ),
]
StoreArgument = Annotated[
    Path,
    typer.Argument(
        metavar="STORE",
        help="The store: a folder, an .h5 file, or demo, the shipped one.",
        callback=_located,
        autocompletion=stores,
    ),
]
StoreToRead = Annotated[Path, _store_option("A folder, an .h5 file, or demo, the shipped store.")]
StoreOfWidths = Annotated[Path | None, _store_option("Take the dataset and its feature widths from here.")]
OtherStore = Annotated[Path | None, _store_option("The feature store. [default: the one of the training]")]
