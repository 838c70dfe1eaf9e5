"""The metrics each corpus is reported with, equal to the released code's and never rounded.

A family ("mosei" for MOSI and MOSEI, "sims" for SIMS and SIMS-V2, "erc" for emotion recognition in
conversation) is a list of named metrics. NaN marks a missing prediction (an answer that could not be
parsed): it is wrong for every metric that counts classes, left out of the mean absolute error, the
correlation and R2, and counted in `missing_share`; it is never taken for 0.0.
"""

from msakit.metrics.compute import (
    baseline_metrics,
    compute_metrics,
    confusion_matrix,
)
from msakit.metrics.families import (
    FAMILIES,
    Metric,
    family_metrics,
    find_metric,
    headline_metrics,
    validation_metric,
)

__all__ = [
    "FAMILIES",
    "Metric",
    "baseline_metrics",
    "compute_metrics",
    "confusion_matrix",
    "family_metrics",
    "find_metric",
    "headline_metrics",
    "validation_metric",
]
