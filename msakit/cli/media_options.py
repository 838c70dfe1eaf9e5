"""Options of commands that read media or answer for samples: `extract` and `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.completion import names_of, runs
from msakit.core.registry.specs import Kind

if TYPE_CHECKING:
    from msakit.extraction.segments import Segmentation

_EXTRACTORS = names_of(Kind.EXTRACTOR)

AudioExtractor = Annotated[
    str | None, typer.Option("--audio", metavar="NAME", help="Audio extractor.", autocompletion=_EXTRACTORS)
]
VisionExtractor = Annotated[
    str | None, typer.Option("--vision", metavar="NAME", help="Vision extractor.", autocompletion=_EXTRACTORS)
]
TrainedRunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run directory (of a folder of runs seed-<n>, the first one answers), or ORG/NAME on the "
        "Hugging Face hub.",
        autocompletion=runs,
    ),
]
ClipsToExtract = Annotated[
    Path,
    typer.Argument(
        metavar="CLIPS",
        help="A folder of media files, or a manifest (CSV, JSON lines; columns: docs/extraction.md).",
    ),
]
OtherModalities = Annotated[
    list[str] | None,
    typer.Option(metavar="MODALITY=EXTRACTOR", help="Extractor of any other modality; may be repeated."),
]
DatasetToWrite = Annotated[
    str | None,
    typer.Option("--dataset", "-d", metavar="NAME", help="Name in the store. [default: the folder's]"),
]
ExtractorSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="MODALITY.SETTING=VALUE, as in audio.frame_shift_s=0.1."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and do nothing.")]
Transcribe = Annotated[bool, typer.Option("--transcribe", help="Transcribe clips that have no text.")]
TranscriberName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Transcriber; set its options with --set text.SETTING=VALUE.",
        autocompletion=names_of(Kind.TRANSCRIBER),
    ),
]
TranscriberSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="text.SETTING of the transcriber.")
]
Segment = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS|silence", help="Cut long recordings into segments: by a clock, or at pauses."
    ),
]
Overlap = Annotated[
    float, typer.Option(metavar="SECONDS", help="Each segment begins this much earlier (needs --segment).")
]
TimelineFolder = Annotated[
    Path | None,
    typer.Option(
        "--timeline",
        metavar="FOLDER",
        help="Write the answers over time of each recording there, as JSON and as a picture.",
    ),
]
Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CLIPS",
        help="Media files, folders, patterns, manifests (.csv, .jsonl), or - for one path per line.",
    ),
]
SpokenText = Annotated[
    list[str] | None,
    typer.Option(help="The words spoken: once per file, in order, or once for all files."),
]
SampleIds = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="Predict a stored sample instead of a file; may be repeated."),
]
SampleDataset = Annotated[
    str | None, typer.Option("--dataset", "-d", metavar="NAME", help="Predict a stored dataset.")
]
SampleSplit = Annotated[
    str | None, typer.Option(metavar="SPLIT", help="Only this split of the dataset: train, valid or test.")
]
AllowFeatureDrift = Annotated[
    bool,
    typer.Option("--allow-feature-drift", help="Accept features that were extracted differently."),
]
Decode = Annotated[str | None, typer.Option(help="score or generate. [default: as in training]")]
AnswerFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the answers to .csv, .jsonl or .parquet."),
]


def segmentation_of(segment: str | None, overlap: float) -> Segmentation | None:
    """How --segment and --overlap cut recordings; None where they do not.

    Raises:
        InputError: They are no numbers of seconds, or there is an overlap of nothing.
    """
    if segment is None and not overlap:
        return None
    from msakit.core.errors import InputError
    from msakit.extraction.segments import Segmentation

    if segment is None:
        raise InputError("--overlap needs --segment.", hint="Such as --segment 10 --overlap 2")
    return Segmentation.parse(segment, overlap)
