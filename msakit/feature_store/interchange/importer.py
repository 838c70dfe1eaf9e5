"""Foreign files into a store: read, check everything, write the features, publish the table last."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from msakit.feature_store.disk.tables import check_dataset_name
from msakit.feature_store.dtypes import encode, zero_nonfinite
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.interchange.corpus import (
    Array,
    ImportedCorpus,
    ImportedModality,
    Intervals,
)
from msakit.feature_store.interchange.known_files import describe_source, load_known_files
from msakit.feature_store.interchange.opening import ImportOptions, list_sources, open_corpus
from msakit.feature_store.interchange.report import ImportReport, build_report
from msakit.feature_store.interchange.survey import ModalitySurvey, Progress, survey_corpus
from msakit.feature_store.keys import sample_key
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import FeatureColumn, Sample, SampleTable, Utterance

IMPORTER = "import@1"
LARGEST = {name: float(np.finfo(name).max) for name in ("float16", "float32")}


def import_files(
    target: FeatureStore | Path,
    files: Sequence[str],
    options: ImportOptions,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
) -> ImportReport:
    """Import files as one dataset.

    Everything that can be wrong with the input is found before the first write, and the sample table is
    written last: an import that fails or is killed leaves no dataset behind, and running it again reuses its
    features.

    Args:
        target: store to import into, or its path (created once the input has proved good).
        files: paths, each optionally as ROLE=PATH (a split, or for `.csd` a role).
        options: everything else.
        progress: called as (what, done, total) from time to time.
        dry_run: read and check everything, write nothing.

    Raises:
        StoreError: bad input, or a dataset of that name exists and `replace` is off.
    """
    check_dataset_name(options.dataset)
    store = _open_target(target, options)
    joined = store.table(options.features_from) if store is not None and options.features_from else None
    with tempfile.TemporaryDirectory(prefix="msakit-import-") as spool:
        corpus = open_corpus(files, options, Path(spool))
        _keep_modalities(corpus, options.modalities)
        _make_ids_unique(corpus)
        known = load_known_files(options.known_files)
        sources = [describe_source(path, known) for path in list_sources(files, options)]
        surveys = survey_corpus(corpus, progress)
        _refuse_nonfinite(surveys, options.nonfinite)
        plans = {
            name: plan_feature_set(modality, surveys[name], options)
            for name, modality in corpus.modalities.items()
            if surveys[name].num_present
        }
        report = build_report(options.dataset, corpus, surveys, plans, sources)
        report.dry_run = dry_run
        if dry_run:
            return report
        if isinstance(target, Path):
            store = store or FeatureStore.open_or_create(target)
        if store is not None:
            with store.hold(plans.values()):
                keys = _write_features(store, corpus, plans, options, report, progress)
                table = _build_table(corpus, plans, keys, options, report)
                if joined is not None:
                    table = _join_features(table, joined)
                report.version = store.write_table(options.dataset, table).version
        return report


def _open_target(target: FeatureStore | Path, options: ImportOptions) -> FeatureStore | None:
    """The store when there is one already, checked to be writable and free of the dataset."""
    if isinstance(target, Path):
        store = FeatureStore.open(target) if target.is_file() or (target / "STORE.json").exists() else None
    else:
        store = target
    if store is None:
        if options.features_from:
            raise StoreError(
                f"{target} is no store yet, so it has no {options.features_from!r}", "Import that first."
            )
        return None
    if store.read_only:
        raise StoreError(f"{store.path} is a single file, which is read-only", "Import into a folder.")
    if options.dataset in store.datasets() and not options.replace:
        raise StoreError(
            f"{store.path} has a dataset {options.dataset!r} already",
            "Choose another --dataset, or add a new version of this one with --replace.",
        )
    return store


def plan_feature_set(
    modality: ImportedModality, survey: ModalitySurvey, options: ImportOptions
) -> FeatureSet:
    """Feature set an imported modality goes to: narrowest lossless type, float64 rounded to float32.

    Files of unknown extractors are kept apart by dataset and modality; the same features from another file of
    the same dataset are the same feature set, so an exported dataset comes back to where it was.

    Raises:
        StoreError: a value is beyond the range of the storage type asked for.
    """
    dtype = survey.exact[0]
    if options.dtype != "auto" and dtype.startswith("float"):
        dtype = options.dtype
    elif dtype == "float64":
        dtype = "float32"
    if dtype in LARGEST and survey.largest > LARGEST[dtype]:
        raise StoreError(
            f"{modality.source}: {modality.name} reaches {survey.largest:.3g}, beyond {dtype}",
            "Store it in a wider type: --dtype float64.",
        )
    return FeatureSet(
        modality=modality.name,
        extractor=options.extractors.get(modality.name, IMPORTER),
        width=survey.width,
        dtype=dtype,
        frame_shift_s=modality.frame_shift_s,
        parameters={
            "dataset": options.dataset,
            "nonfinite": "zero" if options.nonfinite == "zero" else "keep",
        },
        intervals=modality.interval_of is not None,
    )


def _keep_modalities(corpus: ImportedCorpus, wanted: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in corpus.modalities]
    if unknown:
        known = ", ".join(corpus.modalities) or "none"
        raise StoreError(f"the input has no {unknown[0]!r} features", f"Its modalities: {known}.")
    if wanted:
        corpus.modalities = {name: corpus.modalities[name] for name in wanted}


def _make_ids_unique(corpus: ImportedCorpus) -> None:
    """Number repeated ids, keeping what the file said in the column `source_id` (the doctor reports them)."""
    counts = Counter(row.id for row in corpus.rows)
    repeated = [name for name, count in counts.items() if count > 1]
    if not repeated:
        return
    corpus.notes.append(
        f"{len(repeated)} ids occur more than once, first {repeated[:3]}; numbered as ID#2, ID#3, ..."
    )
    taken, seen = set(counts), Counter[str]()
    for row in corpus.rows:
        row.extra["source_id"] = row.id
        seen[row.id] += 1
        while seen[row.id] > 1 and f"{row.id}#{seen[row.id]}" in taken:
            seen[row.id] += 1
        if seen[row.id] > 1:
            row.id = f"{row.id}#{seen[row.id]}"
            taken.add(row.id)


def _refuse_nonfinite(surveys: Mapping[str, ModalitySurvey], policy: str) -> None:
    bad = {name: survey for name, survey in surveys.items() if survey.num_nonfinite}
    if policy != "error" or not bad:
        return
    lines = [
        f"{name}: {survey.num_nan:,} NaN, {survey.num_inf:,} inf, {survey.num_negative_inf:,} -inf in "
        f"{survey.num_bad:,} samples (first {', '.join(survey.bad_ids)})"
        for name, survey in bad.items()
    ]
    raise StoreError(
        "the features hold values that are not finite\n" + "\n".join(lines),
        "Choose: --nonfinite zero stores 0 in their place, --nonfinite keep stores them as they are.",
    )


def _write_features(
    store: FeatureStore,
    corpus: ImportedCorpus,
    plans: Mapping[str, FeatureSet],
    options: ImportOptions,
    report: ImportReport,
    progress: Progress | None,
) -> dict[str, list[bytes]]:
    """Store every sequence; returns the keys per row, empty where a modality is absent."""
    provenance = {"importer": IMPORTER, "sources": [item.sha256 for item in report.sources]}
    policy: Literal["keep", "zero"] = "zero" if options.nonfinite == "zero" else "keep"
    keys: dict[str, list[bytes]] = {}
    for name, feature_set in plans.items():
        modality, keys[name] = corpus.modalities[name], []
        writing = replace(options.writing, nan_policy=policy, provenance=provenance)
        with store.writer(feature_set, writing) as writer:
            for number in range(len(corpus.rows)):
                if progress is not None:
                    progress(f"storing {name}", number, len(corpus.rows))
                values = modality.load(number)
                if values is None:
                    keys[name].append(b"")
                    continue
                intervals = modality.interval_of(number) if modality.interval_of is not None else None
                keys[name].append(content_key(values, intervals, feature_set.dtype, policy))
                report.num_stored += writer.put(keys[name][-1], values, intervals=intervals)
    return keys


def content_key(values: Array, intervals: Intervals | None, dtype: str, policy: str) -> bytes:
    """Key of a sequence that has no media behind it: the address of what will be stored."""
    stored = encode(values, dtype)
    if policy == "zero" and stored.dtype.kind == "f":
        stored = zero_nonfinite(stored, dtype)
    digest = hashlib.sha256(f"msakit-import-1 {dtype} {stored.shape}".encode())
    digest.update(stored.tobytes())
    if intervals is not None:
        digest.update(np.ascontiguousarray(intervals, "<f8").tobytes())
    return sample_key(digest.digest())


def _build_table(
    corpus: ImportedCorpus,
    plans: Mapping[str, FeatureSet],
    keys: Mapping[str, list[bytes]],
    options: ImportOptions,
    report: ImportReport,
) -> SampleTable:
    columns = _fill_columns(corpus.rows)
    samples = [
        Sample.of(
            row,
            language=options.language,
            features={name: keys[name][number] for name in plans if keys[name][number]},
            extra={name: values[number] for name, values in columns.items()},
        )
        for number, row in enumerate(corpus.rows)
    ]
    fingerprints = {name: feature_set.fingerprint for name, feature_set in plans.items()}
    provenance = {**report.as_provenance(), "importer": IMPORTER, "nonfinite": options.nonfinite}
    return SampleTable.from_samples(samples, fingerprints, {"import": provenance})


def _fill_columns(rows: Sequence[Utterance]) -> dict[str, list[str | float]]:
    """Extra columns with a value in every row: "" or NaN where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row.extra)
    columns: dict[str, list[str | float]] = {}
    for name in names:
        cells = [row.extra.get(name) for row in rows]
        textual = any(isinstance(cell, str) for cell in cells)
        missing: str | float = "" if textual else math.nan
        columns[name] = [missing if cell is None else str(cell) if textual else cell for cell in cells]
    return columns


def _join_features(table: SampleTable, other: SampleTable) -> SampleTable:
    """Give samples the features that another dataset's table has under the same id."""
    position = {name: row for row, name in enumerate(other.id)}
    rows = np.array([position.get(name, -1) for name in table.id], np.int64)
    if not (rows >= 0).any():
        raise StoreError(
            "the two datasets share no sample id", f"Ids look like {table.id[0]!r} and {other.id[0]!r}."
        )
    features = dict(table.features)
    for modality, item in other.features.items():
        present = np.where(rows >= 0, item.present[rows], False)
        keys = np.where(present[:, None], item.keys[rows], np.uint8(0))
        features[modality] = FeatureColumn(item.fingerprint, keys, present)
    return replace(table, features=features)
