"""A finished run, loaded: its pipeline with the best weights in it, and the samples it was trained on."""

from __future__ import annotations

import re
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
from msakit.samples.recipe import check_recipe
from msakit.samples.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msakit.core.interfaces import Backbone
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry


_PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*) ([0-9][A-Za-z0-9.+!-]*)")


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run, its pipeline with the best weights in it, and what it resolved to."""

    run: Run
    resolved: ResolvedPipeline
    pipeline: Pipeline

    @property
    def streams(self) -> tuple[str, ...]:
        """The inputs it reads: text, unless it is left out, and its modalities."""
        text = ("text",) if self.resolved.config.prompt.text else ()
        return (*text, *self.resolved.encoders)


def load_run(folder: Path, registry: Registry, *, backbone: Backbone | None = None) -> TrainedRun:
    """Load a finished run with its best weights.

    Raises:
        InputError: The folder is not a run, or its files are damaged.
    """
    run = Run.open(folder)
    config = parse_pipeline(read_yaml(run.pipeline_file), str(run.pipeline_file))
    try:
        resolved = resolve(config, registry, source=str(run.pipeline_file))
    except InputError as error:
        error.hint = "\n".join(filter(None, [error.hint, *_missing_packages(run, registry)]))
        raise
    backbone = backbone or load_backbone(resolved, registry)
    widths = run.widths()
    _check_shapes(run, resolved, registry, widths, backbone.hidden_size)
    pipeline = build_pipeline(resolved, registry, widths=widths, backbone=backbone)
    run.load_adapter(pipeline)
    pipeline.eval()
    return TrainedRun(run, resolved, pipeline)


def _missing_packages(run: Run, registry: Registry) -> list[str]:
    """The command that installs each plugin package the run was trained with and that is missing here."""
    here = {report.distribution.partition(" ")[0] for report in registry.manager.reports}
    recorded = run.read_json("provenance.json").get("plugins", {})
    packages = sorted({str(package) for package in recorded.values()} if isinstance(recorded, dict) else ())
    return [
        f"The run was trained with {found[0]}, which is not installed. If you trust it: "
        f"pip install '{found[1]}=={found[2]}'"
        for package in packages
        if (found := _PACKAGE.fullmatch(package)) and found[1] not in here
    ]


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


def stored_samples(
    trained: TrainedRun,
    store: Path | None,
    *,
    dataset: str | None = None,
    allow_drift: bool = False,
    on_warning: Callable[[str], object] = lambda _: None,
) -> Samples:
    """The samples of the store given, or else of the one the run was trained on.

    Args:
        trained: The run.
        store: Another store than the run's own.
        dataset: Another dataset of the store than the one the run was trained on; same task and labels.
        allow_drift: Take features that were made otherwise than the run's.
        on_warning: Called with what differs and is allowed, or harmless.

    Raises:
        InputError: Neither store is there.
        DataError: The store does not hold what the pipeline was trained on, or features made otherwise.
    """
    place, resolved = store or _recorded_store(trained.run), trained.resolved
    if dataset is not None:
        resolved = replace(resolved, dataset=replace(resolved.dataset, name=dataset))
    samples = Samples.open(place, resolved)
    samples.check_widths(trained.run.widths())
    recorded = trained.run.read_json("features.json")
    what = f"'{resolved.dataset.name}' in {place}"
    for name, present in samples.feature_descriptions.items():
        notes = check_recipe(name, recorded.get(name, {}), present, what=what, allow=allow_drift)
        for note in notes:
            on_warning(note)
    return samples


def _recorded_store(run: Run) -> Path:
    recorded = run.read_json("provenance.json").get("data", {}).get("store")
    if not recorded:
        raise InputError(f"{run.folder} does not say where its store is.", hint="Name one with --store.")
    if not Path(recorded).exists():
        raise InputError(f"The store of {run.folder} ({recorded}) is gone.", hint="Name one with --store.")
    return Path(recorded)
