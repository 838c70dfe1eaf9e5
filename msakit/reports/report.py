"""One HTML file about one run: what was run, how well it did, where it fails.

The file stands alone: styles and drawings are inside it, nothing is fetched when it is opened. All text
that comes from the run is escaped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msakit.core.errors import InputError, MissingExtraError
from msakit.core.files import dump_yaml
from msakit.metrics import Metric, confusion_matrix, family_metrics, validation_metric
from msakit.reports import figures
from msakit.reports.figures import Figure
from msakit.runs.diagnostic_maps import read_maps
from msakit.runs.folder import write_atomically
from msakit.runs.predictions import Predictions
from msakit.runs.results import RunResult, read_run

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_NUM_WORST = 12


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; the first column is left-aligned."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    style: str = ""


def write_report(run_dir: Path, output: Path, *, split: str | None = None) -> Path:
    """Write the report of a run.

    Args:
        run_dir: The run.
        output: The HTML file to write; replaced in one step.
        split: Whose predictions are drawn; by default "test" where it was evaluated, else the first.

    Raises:
        InputError: The folder is no evaluated run.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtraError("The report", "jinja2", "report") from error
    run = read_run(run_dir)
    chosen = split or _default_split(run)
    content = _content(run, run.predictions(chosen), chosen)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["image"] = _image
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(content)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, lambda path: path.write_text(page, encoding="utf-8"))
    return output


def _default_split(run: RunResult) -> str:
    if not run.splits:
        hint = f"Make some with: msakit evaluate {run.path}"
        raise InputError(f"{run.path} has no predictions to report.", hint=hint)
    return "test" if "test" in run.splits else run.splits[0]


def _image(svg: str) -> str:
    """A drawing as the source of an <img>: its ids and styles cannot meet those of the others."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"


def _content(run: RunResult, found: Predictions, split: str) -> dict[str, Any]:
    metrics = family_metrics(run.record.family)
    return {
        "name": run.name,
        "dataset": run.record.dataset,
        "split": split,
        "num_samples": len(found),
        "tiles": _tiles(run, split),
        "warnings": [str(warning) for warning in run.record.warnings],
        "tables": [_metric_table(run, metrics, split), *_condition_tables(run, metrics)],
        "training": _training_figures(run),
        "predictions": [*_class_figures(run, found), *_score_figures(run, found)],
        "worst": _worst_table(run, found),
        "diagnostics": _diagnostic_figures(run, found, split),
        "facts": _facts(run),
        "pipeline": dump_yaml(run.pipeline) if run.pipeline else "",
        "provenance": json.dumps(run.provenance, indent=2, ensure_ascii=False) if run.provenance else "",
    }


def _tiles(run: RunResult, split: str) -> list[tuple[str, str, str]]:
    """Heading, value and small print of the numbers to see first."""
    metric = validation_metric(run.record.family)
    value = run.metrics(split)[metric.name]
    baselines = {name: values.get(metric.name, np.nan) for name, values in run.baselines(split).items()}
    best = min if metric.higher_is_better is False else max
    note = ""
    if baselines:
        name = best(baselines, key=lambda key: baselines[key])
        note = f"always the {name} of the training labels: {_with_unit(metric, baselines[name])}"
    tiles = [(f"{metric.title}, {split}", _with_unit(metric, value), note)]
    if parameters := run.record.parameters:
        share = f"{parameters.trainable / parameters.total:.3%} of {parameters.total:,}"
        tiles.append(("trainable parameters", f"{parameters.trainable:,}", share))
    if (timing := run.record.timing) and timing.train_s is not None:
        speed = f"{timing.samples_per_s:.1f} samples/s" if timing.samples_per_s else ""
        tiles.append(("training", _duration(timing.train_s), speed))
    return tiles


def _with_unit(metric: Metric, value: float) -> str:
    return metric.show(value) + (" %" if metric.percent and not np.isnan(value) else "")


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
    return _metrics_by_column("Metrics", metrics, columns | baselines, explained=True)


def _condition_tables(run: RunResult, metrics: Sequence[Metric]) -> list[Table]:
    """Results without a modality, with other decoding, on another store."""
    columns = {
        f"{split} {found.record.condition.title if found.record.condition else found.name}": values
        for found in run.evaluations
        for split in found.record.splits
        for values in (found.record.defined(split),)
    }
    return [_metrics_by_column("Under other conditions", metrics, columns)] if columns else []


def _metrics_by_column(
    title: str,
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
    return Table(title, header, rows, "Accuracies, F1 and shares in percent.", "metrics" if explained else "")


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
    if epochs:
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


def _worst_table(run: RunResult, found: Predictions) -> Table:
    """The samples to look at first: largest errors, or the surest of the wrong answers."""
    names = run.record.label_names or None
    sure = found.probabilities.max(1) if names and found.probabilities is not None else None
    missing = np.isnan(found.values)
    errors = np.where(missing, np.inf, np.abs(found.values - found.labels))
    order = np.argsort(-(errors if names is None else _certainty(errors, sure)), kind="stable")
    shown = [index for index in order[:_NUM_WORST] if errors[index] > 0]

    def answer(value: float) -> str:
        if np.isnan(value):
            return "(none)"
        return names[int(value)] if names else f"{value:+.2f}"

    rows = [[found.ids[index], answer(found.labels[index]), answer(found.values[index])] for index in shown]
    header = ["sample", "label", "prediction"]
    if sure is not None:
        header.append("highest probability")
        rows = [[*row, f"{sure[index]:.2f}"] for row, index in zip(rows, shown, strict=True)]
    title = "Largest errors" if names is None else "Wrong answers" if sure is None else "Wrong and sure of it"
    return Table(title, header, rows)


def _certainty(errors: np.ndarray[Any, Any], sure: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    wrong = errors > 0
    return np.where(wrong, 1.0 if sure is None else sure, -1.0)


def _diagnostic_figures(run: RunResult, found: Predictions, split: str) -> list[Figure]:
    drawn = [
        figures.diagnostic_histogram(name, values)
        for name, values in found.diagnostics.items()
        if len(values)
    ]
    path = run.path / f"diagnostics.{split}.npz"
    if path.is_file():
        for name, maps in read_maps(path).arrays.items():
            drawn += figures.attention_maps(name, maps)
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
