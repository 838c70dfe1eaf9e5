"""The options of `msakit store import`, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Pickles, .csd or .csv files; SPLIT=FILE (ROLE=FILE for .csd) where the file name does not say."
    ),
]
Store = Annotated[Path, typer.Option("--store", "-s", help="The store: a folder, created if absent.")]
Dataset = Annotated[str, typer.Option("--dataset", "-d", help="Name of the dataset in the store.")]
Format = Annotated[str, typer.Option("--format", help="auto, mmsa, mse, csd, npy or csv.")]
Nonfinite = Annotated[str, typer.Option(help="NaN and infinities: error, keep or zero.")]
Dtype = Annotated[str, typer.Option(help="auto, float16, bfloat16, float32 or float64.")]
Modalities = Annotated[list[str] | None, typer.Option(help="Import only this modality; may be repeated.")]
ModalityFiles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODALITY=FILE",
        help="A pickle or .csd that replaces the modality, or a folder of .npy files; may be repeated.",
    ),
]
Extractors = Annotated[
    list[str] | None,
    typer.Option(metavar="MODALITY=NAME", help="The extractor that made the features, as NAME@VERSION."),
]
Columns = Annotated[
    list[str] | None, typer.Option(metavar="MEANING=COLUMN", help="A column of a CSV, as in text=Utterance.")
]
Split = Annotated[str, typer.Option(help="Split of samples that have none.")]
SplitFile = Annotated[Path | None, typer.Option(help="CSV of video or id, and split (for .csd).")]
LabelColumn = Annotated[int, typer.Option(help="Which dimension of .csd labels is the label.")]
FilePattern = Annotated[str, typer.Option(help="How .npy files are named.")]
FeaturesFrom = Annotated[str, typer.Option(help="Dataset of the store whose features are joined by id.")]
Language = Annotated[str, typer.Option(help="Language tag of the texts, such as en.")]
KnownFiles = Annotated[Path | None, typer.Option(help="JSON list of further published checksums.")]
Replace = Annotated[bool, typer.Option("--replace", help="Add a new version of a dataset that exists.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")]
