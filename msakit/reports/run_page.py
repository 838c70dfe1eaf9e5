"""The page of one run: what was run, how well it did, where it fails, what goes on inside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msakit.core.errors import InputError
from msakit.core.files import dump_yaml
from msakit.metrics import Metric, confusion_matrix, family_metrics, validation_metric
from msakit.reports import figures
from msakit.reports.diagnostic_figures import attention_maps, diagnostic_histogram
from msakit.reports.figures import Figure
from msakit.reports.mistakes import find_mistakes
from msakit.reports.page import Page, Section, Table
from msakit.runs.diagnostic_maps import read_maps
from msakit.runs.predictions import Predictions
from msakit.runs.results import RunResult

NUM_MAPPED = 3


def run_page(run: RunResult, split: str | None, media: Path | None = None) -> Page:
    """The page of a run.

    Args:
        run: The run.
        split: Whose predictions are drawn; None takes "test" where it was evaluated, else the first.
        media: Folder with a media file for each sample.

    Raises:
        InputError: The run has no predictions of the split.
    """
    split = split or default_split(run)
    found = run.predictions(split)
    metrics = family_metrics(run.record.family)
    details = [("pipeline.yaml", dump_yaml(run.pipeline))] if run.pipeline else []
    if run.provenance:
        details.append(("provenance.json", json.dumps(run.provenance, indent=2, ensure_ascii=False)))
    return Page(
        title=run.name,
        subtitle=f"{run.record.dataset}, {split} split, {len(found)} samples",
        tiles=_tiles(run, split),
        warnings=run.record.warnings,
        sections=[
            Section("Metrics", [_metric_table(run, metrics, split)]),
            Section("Under other conditions", _condition_tables(run, metrics)),
            Section("Training", figures=_training_figures(run)),
            Section("Predictions", figures=prediction_figures(run, found)),
            Section(mistakes_title(found), mistakes=find_mistakes(run, found, media)),
            Section("Inside the fusion", figures=fusion_figures(run, found, split)),
            Section("What was run", [Table((), _facts(run), style="facts")]),
        ],
        details=details,
    )


def default_split(run: RunResult) -> str:
    """The split to report when none is named."""
    if not run.splits:
        hint = f"Make some with: msakit evaluate {run.path}"
        raise InputError(f"{run.path} has no predictions to report.", hint=hint)
    return "test" if "test" in run.splits else run.splits[0]


def prediction_figures(run: RunResult, found: Predictions) -> list[Figure]:
    """A split's predictions beside its labels."""
    return [*_class_figures(run, found), *_score_figures(run, found)]


def mistakes_title(found: Predictions) -> str:
    """The title over the samples to look at first."""
    if not found.label_names:
        return "Largest errors"
    return "Wrong answers" if found.probabilities is None else "Wrong and sure of it"


def _tiles(run: RunResult, split: str) -> list[tuple[str, str, str]]:
    """Heading, value and small print of the numbers to see first."""
    metric = validation_metric(run.record.family)
    value = run.metrics(split)[metric.name]
    baselines = {name: values.get(metric.name, np.nan) for name, values in run.baselines(split).items()}
    best = min if metric.higher_is_better is False else max
    note = ""
    if baselines:
        name = best(baselines, key=lambda key: baselines[key])
        note = f"always the {name} of the training labels: {metric.show(baselines[name])}"
    tiles = [(f"{metric.title}, {split}", metric.show(value), note)]
    if parameters := run.record.parameters:
        share = f"{parameters.trainable / parameters.total:.3%} of {parameters.total:,}"
        tiles.append(("trainable parameters", f"{parameters.trainable:,}", share))
    if (timing := run.record.timing) and timing.train_s is not None:
        speed = f"{timing.samples_per_s:.1f} samples/s" if timing.samples_per_s else ""
        tiles.append(("training", _duration(timing.train_s), speed))
    return tiles


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _metric_table(run: RunResult, metrics: Sequence[Metric], split: str) -> Table:
    recorded = sorted(run.record.splits, key=lambda name: name == split)
    columns = {name: run.record.defined(name) for name in recorded}
    columns[split] = run.metrics(split)
    baselines = {f"{name} baseline ({split})": values for name, values in run.baselines(split).items()}
    return _metrics_by_column(metrics, columns | baselines, explained=True)


def _condition_tables(run: RunResult, metrics: Sequence[Metric]) -> list[Table]:
    """Results without a modality, with other decoding, on another store."""
    columns = {
        f"{split} {found.record.condition.title if found.record.condition else found.name}": values
        for found in run.evaluations
        for split in found.record.splits
        for values in (found.record.defined(split),)
    }
    return [_metrics_by_column(metrics, columns)] if columns else []


def _metrics_by_column(
    metrics: Sequence[Metric],
    columns: Mapping[str, Mapping[str, float | None]],
    *,
    explained: bool = False,
) -> Table:
    def cell(metric: Metric, values: Mapping[str, float | None]) -> str:
        value = values.get(metric.name)
        return "-" if value is None else metric.show(value)

    rows = [
        [metric.title, *(cell(metric, values) for values in columns.values()), *[metric.summary] * explained]
        for metric in metrics
    ]
    header = ["", *columns, *["what it counts"] * explained]
    return Table(header, rows, style="metrics" if explained else "")


def _training_figures(run: RunResult) -> list[Figure]:
    metric = validation_metric(run.record.family)
    steps = [entry for entry in run.history if entry.get("split") == "train" and _is_number(entry, "loss")]
    epochs = [
        entry for entry in run.history if entry.get("split") == "valid" and _is_number(entry, metric.name)
    ]
    drawn = []
    if len(steps) > 1:
        drawn.append(
            figures.loss_curve([entry["step"] for entry in steps], [entry["loss"] for entry in steps])
        )
    if len(epochs) > 1:
        numbers, values = [e["epoch"] for e in epochs], [e[metric.name] for e in epochs]
        best = run.record.training.best_epoch if run.record.training else None
        drawn.append(figures.validation_curve(numbers, values, metric.title, best))
    return drawn


def _is_number(entry: Mapping[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), int | float)


def _class_figures(run: RunResult, found: Predictions) -> list[Figure]:
    """Confusion, F1 by class and calibration of a classification."""
    names = run.record.label_names
    if run.record.family != "erc" or not names:
        return []
    values = run.metrics_of(found)
    drawn = [
        figures.confusion(confusion_matrix(found.values, found.labels, len(names)), names),
        figures.class_bars(
            names, [values[f"f1:{name}"] for name in names], [values[f"support:{name}"] for name in names]
        ),
    ]
    if (table := found.probabilities) is not None:
        drawn.append(figures.reliability(table.max(1), table.argmax(1) == found.labels))
    return drawn


def _score_figures(run: RunResult, found: Predictions) -> list[Figure]:
    """Scatter, error by label and calibration of a regression."""
    if run.record.family == "erc" or np.isnan(found.values).all():
        return []
    drawn = [figures.label_scatter(found.labels, found.values)]
    if np.ptp(found.labels) > 0:
        drawn.append(figures.error_by_label(found.labels, found.values))
    if found.probabilities is not None and len(found.answers) > 1:
        answers = np.array([float(text) for text in found.answers])
        drawn.append(figures.coverage(found.labels, found.probabilities, answers))
    return drawn


def fusion_figures(run: RunResult, found: Predictions, split: str) -> list[Figure]:
    """Weights and scalars over the split, and attention maps of its first samples, with names and seconds."""
    described = run.record.diagnostics
    drawn = []
    for name, values in found.diagnostics.items():
        shown = described.get(name)
        title, entries = (shown.title, shown.entries) if shown else (name, ())
        if len(values):
            drawn.append(diagnostic_histogram(title or name, values, entries))
    return drawn + _map_figures(run, found, run.path / f"diagnostics.{split}.npz")


def _map_figures(run: RunResult, found: Predictions, path: Path) -> list[Figure]:
    """Attention maps of the first samples, but those of streams that a sample lacks."""
    if not path.is_file():
        return []
    drawn, maps, described = [], read_maps(path), run.record.diagnostics
    shifts = {name: made.get("frame_shift_s") for name, made in run.features.items()}
    absent = dict(zip(found.ids, found.absent, strict=False))  # empty where no sample lacks anything
    samples = list(dict.fromkeys(sample for by_id in maps.arrays.values() for sample in by_id))
    for sample in samples[:NUM_MAPPED]:
        lacking = set(absent.get(sample, ()))
        of_it = {
            name: by_id[sample]
            for name, by_id in maps.arrays.items()
            if sample in by_id and not (name in described and lacking.intersection(described[name].entries))
        }
        flat = {name: values for name, values in of_it.items() if values.ndim == 2 and values.size}
        drawn += attention_maps(flat, maps.tokens.get(sample, []), described, shifts, sample)
    return drawn


def _facts(run: RunResult) -> list[tuple[str, str]]:
    """The run's parts, in the order of the pipeline."""
    pipeline, provenance = run.pipeline, run.provenance
    rows: list[tuple[str, Any]] = [("dataset", run.record.dataset), ("seed", run.record.seed)]
    rows += [(f"encoder ({name})", _named(choice)) for name, choice in pipeline.get("encoders", {}).items()]
    rows += [(key, _named(pipeline.get(key))) for key in ("fuser", "injector", "backbone")]
    if training := run.record.training:
        rows += [("training ended", training.stopped), ("epochs", training.epochs)]
    rows += [("command", _joined(provenance.get("command"))), ("made", provenance.get("created"))]
    rows += [("hardware", (provenance.get("hardware") or {}).get("processor"))]
    rows += [("commit", (provenance.get("git") or {}).get("commit"))]
    return [(key, str(value)) for key, value in rows if value not in (None, "")]


def _named(choice: Any) -> str:
    """A component's name and settings on one line."""
    if not isinstance(choice, Mapping):
        return str(choice or "")
    settings = ", ".join(f"{key} {value}" for key, value in choice.items() if key != "name")
    return f"{choice.get('name', '')} ({settings})" if settings else str(choice.get("name", ""))


def _joined(words: Iterable[str] | str | None) -> str:
    return words if isinstance(words, str) else " ".join(words or ())
