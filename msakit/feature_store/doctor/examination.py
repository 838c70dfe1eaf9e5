"""The whole examination of one dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from msakit.feature_store.doctor.feature_checks import FeatureTally, judge_features, tally_features
from msakit.feature_store.doctor.label_checks import check_labels
from msakit.feature_store.doctor.probe import Means, check_fitted
from msakit.feature_store.doctor.report import DataProblem, Expectations, Report
from msakit.feature_store.doctor.table_checks import check_table
from msakit.feature_store.store import FeatureStore
from msakit.feature_store.table import SampleTable

Progress = Callable[[str, int, int], None]


def check_dataset(
    store: FeatureStore, dataset: str, expected: Expectations | None = None, progress: Progress | None = None
) -> Report:
    """Examine the newest version of a dataset; every feature is read once, a sequence at a time.

    Raises:
        StoreError: the store has no such dataset.
    """
    expected = expected or Expectations()
    table = store.table(dataset)
    report = Report(dataset, len(table))
    report.add(list(check_table(table, expected)))
    report.add(list(check_labels(table, expected)))
    for modality in table.features:
        reader = store.reader(table, modality)
        tally, means = FeatureTally.of_width(reader.width), Means()
        for row in np.flatnonzero(reader.present).tolist():
            if progress is not None:
                progress(f"{dataset}: {modality}", row, len(table))
            tally_features(reader, row, tally, means)
        report.add(list(judge_features(table, reader, tally)))
        report.add(list(check_fitted(table, modality, means)))
    report.add(list(_check_import(table)))
    return report


def _check_import(table: SampleTable) -> Iterator[DataProblem]:
    """The import's notes on lengths and padding, kept in the table's attributes."""
    modalities: dict[str, Any] = table.attributes.get("import", {}).get("modalities", {})
    for name, item in modalities.items():
        for verdict, code, what in (
            ("disagree", "length-disagrees", "have frames beyond their stated length; all were kept"),
            (
                "longer",
                "cut-at-source",
                "state more frames than the file held: they were cut before the import",
            ),
        ):
            count = sum(split.get(verdict, 0) for split in item.get("padding", {}).values())
            if count:
                remedy = "Take lengths and features from one source."
                yield DataProblem(code, "warning", name, f"{count} samples {what}.", remedy, count)
