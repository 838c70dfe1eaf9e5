"""A dataset that no registry describes, described by its own table in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import DataError
from msakit.core.labels import LABEL_RANGES
from msakit.core.pipeline.wording import class_prompt, score_prompt
from msakit.feature_store import FeatureStore

if TYPE_CHECKING:
    from pathlib import Path

    from msakit.feature_store import SampleTable

UNKNOWN_LANGUAGE = "en"


def describe_stored(store_path: Path, name: str) -> dict[str, Any]:
    """Describe a dataset as a registry entry would: task, labels, language, metrics, prompt, widths.

    The task is classification where samples have class names; the range of scores is the smallest one
    of a metric family that holds every label. Any of it can be overridden (`--set dataset.labels=...`).

    Raises:
        DataError: The store has no such dataset, it has no labels, or its scores fit no family.
    """
    store = FeatureStore.open(store_path)
    if name not in store.datasets():
        held = ", ".join(store.datasets()) or "none"
        raise DataError(f"{store_path} has no dataset '{name}' (it has: {held}).")
    table = store.table(name)
    language = next((tag for tag in table.language if tag), UNKNOWN_LANGUAGE)
    widths = {modality: store.reader(table, modality).width for modality in table.features}
    return {"name": name, "language": language, **_task_of(table, name, language), "features": widths}


def _task_of(table: SampleTable, name: str, language: str) -> dict[str, Any]:
    if labels := _class_names(table):
        return {
            "task": "classification",
            "metrics": "erc",
            "labels": labels,
            "prompts": {"task": class_prompt(language, labels)},
        }
    scores = table.label[~np.isnan(table.label)]
    if not len(scores):
        raise DataError(f"'{name}' has no labels, so there is nothing to train for or to compare with.")
    family, (low, high) = _family_of(name, float(scores.min()), float(scores.max()))
    return {
        "task": "regression",
        "metrics": family,
        "label_range": [low, high],
        "prompts": {"task": score_prompt(language, (low, high))},
    }


def _class_names(table: SampleTable) -> list[str]:
    """Class names by their stored index where there is one, else in order of appearance."""
    first = {name: row for row, name in reversed(list(enumerate(table.label_name))) if name}
    return sorted(first, key=lambda name: (float(np.nan_to_num(table.label[first[name]])), first[name]))


def _family_of(name: str, low: float, high: float) -> tuple[str, tuple[float, float]]:
    for family, (lowest, highest) in sorted(LABEL_RANGES.items(), key=lambda item: item[1][1]):
        if lowest <= low and high <= highest:
            return family, (lowest, highest)
    known = ", ".join(f"{family} {limits}" for family, limits in LABEL_RANGES.items())
    raise DataError(
        f"The scores of '{name}' run from {low:g} to {high:g}, which no metric family covers ({known}).",
        hint="Rescale the labels before importing them.",
    )
