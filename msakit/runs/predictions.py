"""predictions.<split>.csv: every sample's label, prediction, probabilities and small diagnostics.

What is too large for a table, such as attention maps, goes to diagnostics.<split>.npz for some samples.
"""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.evaluation.evaluate import LARGEST_DIAGNOSTIC, NUM_MAPPED_SAMPLES
from msakit.runs.diagnostic_maps import write_maps
from msakit.runs.folder import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from msakit.core.pipeline.answers import AnswerSet
    from msakit.core.registry.specs import DatasetSpec
    from msakit.evaluation.evaluate import Evaluation


def write_predictions(path: Path, evaluation: Evaluation, answers: AnswerSet, dataset: DatasetSpec) -> None:
    """Write an evaluation's predictions, one sample a line.

    Columns: id, label, prediction (class names for classification, empty where missing), `generated`
    when text was generated, `p:<answer>` probabilities, `d:<diagnostic>` and `d:<diagnostic>[i]` for
    diagnostics of up to 16 numbers a sample.
    """
    diagnostics = {
        name: samples for name, samples in evaluation.diagnostics.items() if _fits_a_table(samples)
    }
    names = dataset.labels if dataset.task == "classification" else answers.texts
    header = ["id", "label", "prediction"]
    header += ["generated"] if evaluation.texts is not None else []
    header += [f"p:{name}" for name in names] if evaluation.probabilities is not None else []
    header += [column for name, samples in diagnostics.items() for column in _columns(name, samples[0])]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for index, sample in enumerate(evaluation.ids):
        row: list[Any] = [
            sample,
            _shown(evaluation.labels[index], dataset),
            _shown(evaluation.values[index], dataset),
        ]
        row += [evaluation.texts[index]] if evaluation.texts is not None else []
        row += _numbers(evaluation.probabilities[index]) if evaluation.probabilities is not None else []
        row += [number for samples in diagnostics.values() for number in _numbers(samples[index])]
        writer.writerow(row)
    write_atomically(path, lambda temporary: temporary.write_text(buffer.getvalue(), encoding="utf-8"))


def write_large_diagnostics(path: Path, evaluation: Evaluation) -> None:
    """Write what is no column of the table, of the first samples; no file if that is nothing."""
    large = {name: samples for name, samples in evaluation.diagnostics.items() if not _fits_a_table(samples)}
    if large:
        chosen = range(min(NUM_MAPPED_SAMPLES, len(evaluation.ids)))
        write_atomically(path, lambda temporary: write_maps(temporary, evaluation.ids, large, chosen))


def _fits_a_table(samples: list[np.ndarray[Any, Any]]) -> bool:
    """Whether a diagnostic is of one small shape for all samples; attention maps of short texts are not."""
    return len({sample.shape for sample in samples}) == 1 and samples[0].size <= LARGEST_DIAGNOSTIC


def _columns(name: str, sample: np.ndarray[Any, Any]) -> list[str]:
    if sample.ndim == 0:
        return [f"d:{name}"]
    return [f"d:{name}[{','.join(map(str, index))}]" for index in np.ndindex(sample.shape)]


def _numbers(values: np.ndarray[Any, Any]) -> list[str]:
    return [f"{value:.6g}" for value in np.asarray(values, dtype=np.float64).ravel()]


def _shown(value: float, dataset: DatasetSpec) -> str:
    if math.isnan(value):
        return ""
    return dataset.labels[int(value)] if dataset.task == "classification" else f"{value:.6g}"
