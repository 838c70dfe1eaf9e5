"""The report of an import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.interchange.corpus import ImportedCorpus, SourceFile
from msakit.feature_store.interchange.survey import ModalitySurvey


@dataclass
class ImportReport:
    """The report of an import; `--json` prints `as_json`.

    Attributes:
        dataset: its name in the store.
        format: "mmsa", "mse", "csd", "npy" or "csv".
        sources: the files, with their SHA-256 and, for published ones, their name.
        splits: split -> number of samples.
        modalities: modality -> measurements, storage type, and padding cut per split.
        notes: what a user should know.
        ignored: keys of the input that no one reads.
        version: version of the sample table that was written; 0 in a dry run.
        num_stored: sequences that were not in the store before.
        dry_run: whether nothing was written.
    """

    dataset: str
    format: str
    sources: list[SourceFile]
    splits: dict[str, int]
    modalities: dict[str, dict[str, Any]]
    notes: list[str]
    ignored: list[str]
    version: int = 0
    num_stored: int = 0
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**vars(self), "sources": describe_sources(self.sources)}

    def as_provenance(self) -> dict[str, Any]:
        """The part stored with the sample table: sources of the samples, and their padding."""
        keys = ("format", "splits", "modalities", "notes", "ignored")
        return {**{key: getattr(self, key) for key in keys}, "sources": describe_sources(self.sources)}


def describe_sources(sources: Sequence[SourceFile]) -> list[dict[str, str]]:
    """Source files as plain data, by name without folder: a table must not depend on where they lay."""
    return [{"file": item.path.name, "sha256": item.sha256, "known": item.known} for item in sources]


def build_report(
    dataset: str,
    corpus: ImportedCorpus,
    surveys: Mapping[str, ModalitySurvey],
    plans: Mapping[str, FeatureSet],
    sources: list[SourceFile],
) -> ImportReport:
    """Gather what the parser, the survey and the plan of feature sets found."""
    modalities: dict[str, dict[str, Any]] = {}
    for name, modality in corpus.modalities.items():
        padding = {
            split: {"length": tally.padded_length, "side": tally.side, **dict(tally.verdicts)}
            for split, tally in modality.padding.items()
        }
        plan = plans.get(name)
        modalities[name] = {
            **surveys[name].as_json(),
            "source_dtype": modality.source_dtype,
            "dtype": plan.dtype if plan else "",
            "lossless": plan is not None and plan.dtype in surveys[name].exact,
            "padding": padding,
        }
    counts = Counter(row.split for row in corpus.rows)
    ignored = sorted(set(corpus.ignored))
    notes = [note for name, item in modalities.items() for note in _describe_oddities(name, item)]
    return ImportReport(
        dataset, corpus.format, sources, dict(counts), modalities, corpus.notes + notes, ignored
    )


def _describe_oddities(name: str, modality: Mapping[str, Any]) -> list[str]:
    """Notes on lengths that the sequences contradict, and on rounding."""
    notes = []
    for verdict, meaning in (
        ("disagree", "kept all their frames: those outside the stated length are not zero"),
        ("longer", "state more frames than are there: they were cut before"),
    ):
        count = sum(split.get(verdict, 0) for split in modality["padding"].values())
        if count:
            notes.append(f"{name}: {count} samples {meaning}")
    if modality["dtype"] and not modality["lossless"]:
        notes.append(f"{name}: {modality['source_dtype']} values were rounded to {modality['dtype']}")
    return notes
