"""Evaluate a loaded run: predictions to disk first, metrics second; an official result is never replaced."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from msakit.core import processes
from msakit.core.atomic import write_atomically, write_text_atomically
from msakit.core.files import read_yaml
from msakit.core.interfaces import DiagnosedFuser
from msakit.evaluation.evaluate import described_diagnostics, evaluate, score
from msakit.metrics import baseline_metrics
from msakit.runs.diagnostic_maps import Maps, write_maps
from msakit.runs.folder import Run
from msakit.runs.predictions import to_csv
from msakit.runs.provenance import file_digest
from msakit.runs.record import Condition, RunRecord, Truncation
from msakit.runs.results import EVALUATIONS
from msakit.samples.order import BatchLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.evaluation.ablation import Ablation
    from msakit.runs.predictions import Predictions
    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun

REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an evaluation.

    Attributes:
        condition: What was other than in the run's own evaluation, in words; "" for nothing.
        splits: Split to metrics.
        warnings: What the fuser complains of, and texts that were cut.
        folders: Split to the folder its files are in.
        differences: Split to what a repetition gave other than recorded: metric to (recorded, now).
    """

    condition: str
    splits: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)
    differences: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how far an evaluation is.

    Attributes:
        on_prepare: Told how many prompts are read ahead, of how many.
        on_batch: Told the number of samples done after each batch.
    """

    on_prepare: Callable[[int, int], None] | None = None
    on_batch: Callable[[int], None] | None = None


def evaluate_run(
    trained: TrainedRun,
    samples: Samples,
    splits: Iterable[str],
    *,
    ablations: Sequence[Ablation] = (),
    store: Path | None = None,
    facts: dict[str, Any] | None = None,
    watch: Watch = Watch(),
) -> Report:
    """Evaluate splits.

    The run's own metrics.json and predictions take in a split that is not there yet. Anything else
    gets a folder below `evaluations`, named by what differs: decoding, store, modalities taken away;
    "repeated" where nothing does. A repetition first reads the prompts of all splits, as the training
    did: which prompts a frozen backbone reads together decides on the last bits of what it makes of them.

    Args:
        trained: The run.
        samples: Where the samples come from.
        splits: Which splits.
        ablations: Modalities to take away.
        store: The store of the samples, where it is not the run's own.
        facts: Fields of the record that training knows; these make the result the official one.
        watch: Told how far it is.
    """
    run = trained.run
    samples.check_widths(run.widths())
    condition = _condition(trained, samples, ablations, store)
    recorded = run.read_record()
    report = Report(condition.title)
    results: dict[Path, RunRecord] = {}
    old = () if facts is not None or recorded is None else tuple(recorded.splits)
    names = {split: slug(condition.title) or (REPEATED if split in old else "") for split in splits}
    if REPEATED in names.values():
        trained.pipeline.prepare(samples.words(), watch.on_prepare)
    for split, name in names.items():
        place = Run(run.folder / EVALUATIONS / name if name else run.folder)
        record = _evaluate_split(trained, samples, split, ablations, place, watch.on_batch)
        if name:
            record = record.model_copy(update={"condition": condition})
        merged = _merged(results.get(place.folder) or place.read_record(), record, facts or {})
        results[place.folder] = merged
        report.splits[split] = record.defined(split)
        report.warnings.extend(record.warnings)
        report.folders[split] = place.folder
        if name == REPEATED and recorded is not None:
            report.differences[split] = _differences(recorded.defined(split), record.defined(split))
    processes.on_main(lambda: _write_records(results))
    return report


def _write_records(results: Mapping[Path, RunRecord]) -> None:
    """Write metrics.json, by folder, once all splits are there: a run that has one is finished."""
    for folder, record in results.items():
        Run(folder).write_record(record)


def _condition(
    trained: TrainedRun, samples: Samples, ablations: Sequence[Ablation], store: Path | None
) -> Condition:
    """Differences from the conditions the run was trained under."""
    decode = trained.resolved.config.answers.decode
    own = read_yaml(trained.run.pipeline_file).get("answers", {}).get("decode", decode)
    data = trained.run.read_json("provenance.json").get("data", {})
    is_other = store is not None and str(store.resolve()) != data.get("store")
    return Condition(
        decode=decode if decode != own else None,
        store=str(store) if is_other else None,
        dataset=samples.dataset.name if samples.dataset.name != trained.resolved.dataset.name else None,
        without=tuple(f"{a.modality} ({a.described})" for a in ablations),
    )


def _evaluate_split(
    trained: TrainedRun,
    samples: Samples,
    split: str,
    ablations: Sequence[Ablation],
    place: Run,
    on_batch: Callable[[int], None] | None,
) -> RunRecord:
    """Predict a split, write what was predicted, and say what it comes to."""
    resolved, pipeline = trained.resolved, trained.pipeline
    rows = samples.rows(split)
    started = time.perf_counter()
    predictions, maps = evaluate_rows(trained, samples, rows, ablations=ablations, on_batch=on_batch)
    seconds = time.perf_counter() - started
    table = place.folder / f"predictions.{split}.csv"
    processes.on_main(lambda: _write(table, predictions, maps))
    return _header(resolved).model_copy(
        update={
            "splits": {split: score(predictions, resolved.dataset)},
            "samples_per_s": {split: len(rows) / seconds},
            "baselines": constant_answers(samples, split, resolved),
            "diagnostics": dict(described_diagnostics(pipeline)),
            "digests": {table.name: file_digest(table), **trained.run.digests()},
            "truncation": _truncation(pipeline),
            "warnings": tuple(_complaints(pipeline, predictions, split)),
        }
    )


def evaluate_rows(
    trained: TrainedRun,
    samples: Samples,
    rows: NDArray[np.int64],
    *,
    ablations: Sequence[Ablation] = (),
    on_batch: Callable[[int], None] | None = None,
) -> tuple[Predictions, Maps]:
    """Predict rows with the decoding and the batch limits of a run's pipeline."""
    config = trained.resolved.config
    return evaluate(
        trained.pipeline,
        samples,
        rows,
        BatchLimits(config.training.evaluation_batch_size, config.training.max_batch_tokens),
        generate=config.answers.decode == "generate",
        ablations=ablations,
        on_batch=on_batch,
    )


def _write(table: Path, predictions: Predictions, maps: Maps) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(table, to_csv(predictions))
    if maps.arrays:
        large = table.with_name(table.name.replace("predictions.", "diagnostics.")).with_suffix(".npz")
        write_atomically(large, lambda path: write_maps(path, maps))


def _complaints(pipeline: Pipeline, found: Predictions, split: str) -> list[str]:
    """Warnings of the fuser about its diagnostics over a split (a collapsed gate), and about cut texts."""
    fuser = pipeline.adapter.fuser
    findings: list[str] = []
    if isinstance(fuser, DiagnosedFuser) and fuser.diagnostics.keys() & found.diagnostics.keys():
        findings = fuser.diagnose({n: torch.from_numpy(values) for n, values in found.diagnostics.items()})
    truncation = _truncation(pipeline)
    if truncation.cut:
        findings.append(
            f"{truncation.cut} of {truncation.texts} utterances ({truncation.share:.1%}) were cut to "
            f"{truncation.limit} tokens; raise prompt.max_text_tokens to keep them whole"
        )
    return [f"{split}: {finding}" for finding in findings]


def _truncation(pipeline: Pipeline) -> Truncation:
    prompts = pipeline.prompts
    return Truncation(texts=prompts.num_texts, cut=prompts.num_truncated, limit=prompts.max_text_tokens)


def _header(resolved: ResolvedPipeline) -> RunRecord:
    dataset = resolved.dataset
    return RunRecord(
        dataset=dataset.name,
        family=dataset.metrics,
        task=dataset.task,
        seed=resolved.config.training.seed,
        label_names=tuple(dataset.labels),
        label_range=dataset.label_range,
    )


def constant_answers(samples: Samples, split: str, resolved: ResolvedPipeline) -> dict[str, Any]:
    """Metrics of constant answers learnt from the training split; empty if the store has none."""
    dataset = resolved.dataset
    if "train" not in samples.table.split:
        return {}
    train, labels = samples.labels(samples.rows("train")), samples.labels(samples.rows(split))
    return {split: baseline_metrics(dataset.metrics, train, labels, label_names=dataset.labels or None)}


def _merged(recorded: RunRecord | None, record: RunRecord, facts: dict[str, Any]) -> RunRecord:
    """A record with the splits of a newer one put in."""
    if recorded is None:
        return record.model_copy(update=facts)
    kept = tuple(w for w in recorded.warnings if w.partition(":")[0] not in record.splits)
    changes: dict[str, Any] = {
        name: {**getattr(recorded, name), **getattr(record, name)}
        for name in ("splits", "samples_per_s", "baselines", "diagnostics", "digests")
    }
    return recorded.model_copy(update={**changes, "warnings": kept + record.warnings, **facts})


def _differences(recorded: dict[str, float], now: dict[str, float]) -> dict[str, tuple[float, float]]:
    return {
        name: (value, now[name])
        for name, value in recorded.items()
        if name in now and not np.isclose(value, now[name], rtol=0, atol=1e-9, equal_nan=True)
    }


def slug(title: str) -> str:
    """A condition as a folder name: "without audio (absent), decode generate" to letters and dashes."""
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in title).split())
