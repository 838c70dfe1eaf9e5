"""A paper's recipes as one table: what all share, what a dataset, a backbone or a single cell changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from msakit.core.pipeline.overrides import merge
from msakit.core.registry.specs import RecipeSpec
from msakit.core.settings import Settings

Changes = Mapping[str, Any]
MAX_SETTINGS = 200_000


class RecipeMatrix(Settings):
    """Recipes of one name, as registry.yaml writes them.

    Attributes:
        name: What users type (`mse-adapter`).
        matrix: Dataset to its backbones: a list of names, or each with settings of its own.
        pipeline: Settings of every cell, as a pipeline file has them.
        datasets: Dataset to what it changes.
        backbones: Backbone to what it changes.
        source: Where the settings are published.
        note: What is published and what is our reading.
    """

    name: str
    matrix: Mapping[str, tuple[str, ...] | Mapping[str, Changes]]
    pipeline: Changes = Field(default={})
    datasets: Mapping[str, Changes] = Field(default={})
    backbones: Mapping[str, Changes] = Field(default={})
    source: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _refuse_settings_of_no_cell(self) -> Self:
        used = {backbone for row in self.matrix.values() for backbone in row}
        unused = [*(self.datasets.keys() - self.matrix.keys()), *(self.backbones.keys() - used)]
        if unused:
            msg = f"settings for {', '.join(sorted(unused))}, which the matrix does not have"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _refuse_endless_tables(self) -> Self:
        num_cells = sum(map(len, self.matrix.values()))
        num_settings = _count(self.pipeline) + _count(self.datasets) + _count(self.backbones)
        if num_cells * (1 + num_settings) > MAX_SETTINGS:
            msg = f"{num_cells:,} recipes of {num_settings:,} settings, more than {MAX_SETTINGS:,} in all"
            raise ValueError(msg)
        return self

    def expand(self) -> Iterator[RecipeSpec]:
        """One recipe a cell; the cell's settings win over the backbone's, those over the dataset's."""
        for dataset, row in self.matrix.items():
            cells = row if isinstance(row, Mapping) else {name: {} for name in row}
            for backbone, own in cells.items():
                pipeline = dict(self.pipeline)
                for changes in (self.datasets.get(dataset, {}), self.backbones.get(backbone, {}), own):
                    pipeline = merge(pipeline, changes)
                yield RecipeSpec(self.name, dataset, backbone, pipeline, self.source, self.note)


def _count(settings: Any) -> int:
    """How many values nested settings hold."""
    if isinstance(settings, Mapping):
        return sum(1 + _count(value) for value in settings.values())
    return sum(1 + _count(value) for value in settings) if isinstance(settings, list | tuple) else 0
