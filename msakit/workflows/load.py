"""A finished run, loaded: its pipeline with the best weights in it, and the samples it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msakit.core.errors import InputError
from msakit.core.files import read_yaml
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.overrides import override
from msakit.core.pipeline.resolution import resolve
from msakit.runs.folder import Run
from msakit.samples.samples import Samples

if TYPE_CHECKING:
    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run, its pipeline with the best weights in it, and what it resolved to."""

    run: Run
    resolved: ResolvedPipeline
    pipeline: Pipeline


def load_run(folder: Path, registry: Registry, *, backbone: Backbone | None = None) -> TrainedRun:
    """Load a finished run with its best weights.

    Raises:
        InputError: The folder is not a run, or its files are damaged.
    """
    run = Run.open(folder)
    config = parse_pipeline(read_yaml(run.pipeline_file), str(run.pipeline_file))
    resolved = resolve(config, registry, source=str(run.pipeline_file))
    pipeline = build_pipeline(resolved, registry, widths=run.widths(), backbone=backbone)
    run.load_adapter(pipeline)
    pipeline.eval()
    return TrainedRun(run, resolved, pipeline)


def with_decoding(trained: TrainedRun, decode: str | None) -> TrainedRun:
    """The same run, answering by "score" or "generate"."""
    if decode is None:
        return trained
    content = override(trained.resolved.config.model_dump(), [("answers.decode", decode)])
    return replace(trained, resolved=replace(trained.resolved, config=parse_pipeline(content, "--decode")))


def stored_samples(trained: TrainedRun, store: Path | None) -> Samples:
    """The samples of the store given, or else of the one the run was trained on.

    Raises:
        InputError: Neither is there.
        DataError: The store does not hold what the pipeline was trained on.
    """
    samples = Samples.open(store or _recorded_store(trained.run), trained.resolved)
    samples.check_widths(trained.run.widths())
    return samples


def _recorded_store(run: Run) -> Path:
    recorded = run.read_json("provenance.json").get("data", {}).get("store")
    if not recorded or not Path(recorded).exists():
        raise InputError(f"The store of {run.folder} ({recorded}) is gone.", hint="Name one with --store.")
    return Path(recorded)
