"""A finished run, loaded: its pipeline with the best weights in it, and the samples it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msakit.core.errors import InputError
from msakit.core.files import read_yaml
from msakit.core.pipeline.builder import build_adapter, build_pipeline, load_backbone
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.overrides import override
from msakit.core.pipeline.resolution import resolve
from msakit.runs.adapter_file import check_shapes
from msakit.runs.folder import Run
from msakit.samples.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    backbone = backbone or load_backbone(resolved, registry)
    widths = run.widths()
    _check_shapes(run, resolved, registry, widths, backbone.hidden_size)
    pipeline = build_pipeline(resolved, registry, widths=widths, backbone=backbone)
    run.load_adapter(pipeline)
    pipeline.eval()
    return TrainedRun(run, resolved, pipeline)


def _check_shapes(
    run: Run, resolved: ResolvedPipeline, registry: Registry, widths: Mapping[str, int], hidden_size: int
) -> None:
    """Compare file and pipeline before memory is taken for what a run from elsewhere describes."""
    adapter = build_adapter(resolved, registry, widths=widths, hidden_size=hidden_size, device="meta")
    expected = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    check_shapes(run.adapter_file, expected, run.pipeline_file)


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
