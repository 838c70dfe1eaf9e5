"""Several systems over several seeds on the same samples: sweeps, ablation tables, the quick start.

A study file names a pipeline and one of three: `systems` (named settings to compare, which may be evaluated
on the test split), a `grid` (every combination of settings) or a `search` (ranges of settings; search.py).
The last two choose settings, so they only ever see the validation split.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, model_validator

from msakit.core.errors import ConfigError
from msakit.core.files import problems_of, read_yaml
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.overrides import merge, override
from msakit.core.pipeline.resolution import resolve
from msakit.core.settings import Settings
from msakit.core.shards import Shard
from msakit.metrics.estimate import Estimate
from msakit.runs.folder import Run, RunFinishedError
from msakit.runs.lock import RunBusyError
from msakit.runs.record import Timing
from msakit.workflows.search_space import SearchConfig
from msakit.workflows.train import TrainingPlan, train_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry
    from msakit.runs.record import Metrics, RunRecord
    from msakit.training.observer import Observer

EVERYTHING = Shard()
Overrides = dict[str, Any]


class StudyConfig(Settings):
    """A study file."""

    title: str = ""
    pipeline: dict[str, Any] | str = Field(description="a pipeline, or the path of one beside the study file")
    systems: dict[str, Overrides] = Field(default={}, description="name to dotted keys and their values")
    grid: dict[str, list[Any]] = Field(default={}, description="dotted key to the values to try")
    search: SearchConfig | None = Field(default=None, description="ranges to search with Optuna")
    seeds: list[int] = Field(default=[1111, 2222, 3333])
    splits: list[str] = Field(default=["valid"], description="systems only: where results are measured")

    @model_validator(mode="after")
    def _one_of_three(self) -> StudyConfig:
        if sum(map(bool, (self.systems, self.grid, self.search))) != 1:
            msg = "give either systems, a grid or a search"
            raise ValueError(msg)
        if not self.systems and self.splits != ["valid"]:
            kind = "grid" if self.grid else "search"
            msg = f"a {kind} chooses settings, so it is measured on the validation split alone"
            raise ValueError(msg)
        return self

    def variants(self) -> dict[str, Overrides]:
        """Every system, named; a grid's are named by their settings."""
        if self.systems:
            return dict(self.systems)
        combinations = itertools.product(*self.grid.values())
        settings = [dict(zip(self.grid, values, strict=True)) for values in combinations]
        return {", ".join(f"{key}={value}" for key, value in one.items()): one for one in settings}


@dataclass(frozen=True, slots=True)
class Cell:
    """One system with one seed."""

    system: str
    seed: int
    folder: Path
    resolved: ResolvedPipeline

    @property
    def is_finished(self) -> bool:
        """Whether its run has its metrics already."""
        return (self.folder / "metrics.json").is_file()


@dataclass(frozen=True)
class Study:
    """Systems x seeds, each a run directory below one folder.

    Attributes:
        config: What to run.
        pipeline: The pipeline the systems vary.
        store: The samples.
        folder: Where the runs go: folder/system/seed-n.
    """

    config: StudyConfig
    pipeline: Mapping[str, Any]
    store: Path
    folder: Path

    def cells(self, registry: Registry) -> list[Cell]:
        """Every run of the study, all checked before the first one starts.

        Raises:
            ConfigError: A system's settings are wrong.
        """
        return list(self._cells(registry))

    def _cells(self, registry: Registry) -> Iterator[Cell]:
        variants = self.config.variants()
        for name, seed, folder in self.places():
            content = override(apply(self.pipeline, variants[name]), [("training.seed", seed)])
            config = parse_pipeline(content, f"system '{name}'")
            resolved = resolve(config, registry, source=f"system '{name}'")
            yield Cell(name, seed, folder, resolved)

    def places(self) -> list[tuple[str, int, Path]]:
        """System, seed and run directory of every run, in the order they are trained in."""
        return [
            (name, seed, self.folder / slug(name) / f"seed-{seed}")
            for seed in self.config.seeds
            for name in self.config.variants()
        ]

    def run(
        self,
        registry: Registry,
        observers: Callable[[Cell], Iterable[Observer]],
        *,
        shard: Shard = EVERYTHING,
    ) -> list[Cell]:
        """Train every unfinished run; interrupted ones continue where they stopped.

        A run that another process is training is left to it, so several workers may share a study.

        Returns:
            The runs that were left to others.
        """
        backbone, key, left = None, "", []
        for cell in shard.take(self.cells(registry)):
            if cell.is_finished:
                continue
            settings = str(cell.resolved.backbone.as_yaml() | {"name": cell.resolved.backbone_spec.name})
            if settings != key or not cell.resolved.backbone_is_frozen:
                backbone, key = None, settings
            plan = TrainingPlan(cell.resolved, self.store, cell.folder, evaluate_on=tuple(self.config.splits))
            try:
                trained = train_run(plan, registry, observers=observers(cell), backbone=backbone)
                backbone = trained.pipeline.backbone
            except RunFinishedError:
                continue
            except RunBusyError:
                left.append(cell)
        return left

    def results(self, split: str) -> dict[str, dict[str, Estimate]]:
        """System to metric to its estimate over the finished seeds."""
        values: dict[str, dict[str, list[float]]] = {}
        for system, _, folder in self.places():
            if record := Run(folder).read_record():
                for name, value in _numbers(record, split).items():
                    values.setdefault(system, {}).setdefault(name, []).append(value)
        return {
            system: {name: Estimate.over(numbers) for name, numbers in metrics.items()}
            for system, metrics in values.items()
        }

    def baselines(self, split: str) -> dict[str, Metrics]:
        """Metrics of always answering the training mean, median or majority class, from any finished run."""
        records = (Run(folder).read_record() for _, _, folder in self.places())
        return next((record.baselines.get(split, {}) for record in records if record), {})


def _numbers(record: RunRecord, split: str) -> dict[str, float]:
    """A run's metrics on a split, with size and speed; undefined values are left out."""
    timing = record.timing or Timing()
    found = {
        **record.splits.get(split, {}),
        "trainable": record.parameters.trainable if record.parameters else None,
        "train_s": timing.train_s,
        "train_samples_per_s": timing.samples_per_s,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def read_study(path: Path, store: Path, folder: Path) -> Study:
    """Read a study file.

    Raises:
        ConfigError: It is not a study; every problem is listed.
    """
    try:
        config = StudyConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(str(path), problems_of(error)) from error
    pipeline = config.pipeline
    content = read_yaml(path.parent / pipeline) if isinstance(pipeline, str) else pipeline
    return Study(config, content, store, folder)


def apply(pipeline: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline with settings under dotted keys; a mapping named anew replaces what was there."""
    content = merge({}, pipeline)
    for key, value in settings.items():
        content = override(content, [(key, value)])
    return content


def slug(name: str) -> str:
    """A system's name as a folder name."""
    return "".join(letter if letter.isalnum() or letter in "-_.=" else "-" for letter in name).strip("-")
