"""Examines the data of a dataset: what would spoil a training run or make its figures untrue.

from msakit.feature_store import FeatureStore
from msakit.feature_store.doctor import Expectations, check_dataset

report = check_dataset(FeatureStore.open("feats"), "mosei", Expectations(label_range=(-3, 3), language="en"))
for finding in report.findings:
    print(finding.severity, finding.code, finding.message)
"""

from __future__ import annotations

from msakit.feature_store.doctor.examination import check_dataset
from msakit.feature_store.doctor.report import DataProblem, Expectations, Report

__all__ = ["DataProblem", "Expectations", "Report", "check_dataset"]
