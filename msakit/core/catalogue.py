"""registry.yaml files: read, validated, turned into specifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from msakit.core.errors import ConfigError
from msakit.core.specs import (
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    Kind,
    PublishedResult,
    RecipeSpec,
    Source,
)
from msakit.core.yaml_files import problems_of, read_yaml

SHIPPED = Path(__file__).parents[1] / "registry.yaml"

Section = Literal["components", "backbones", "datasets", "recipes", "published"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Source(_Entry):
    paper: str | None = None
    url: str | None = None
    code: str | None = None
    note: str | None = None

    def spec(self) -> Source:
        return Source(**self.model_dump())


class _Component(_Entry):
    kind: Kind
    name: str
    target: str
    config: str
    version: int = 1
    short: str = ""
    pattern: str | None = None
    summary: str = ""
    source: _Source = _Source()
    capabilities: frozenset[str] = frozenset()
    extra: str | None = None

    def spec(self) -> ComponentSpec:
        return ComponentSpec(**{**dict(self), "source": self.source.spec()})


class _Backbone(_Entry):
    name: str
    weights: dict[str, Any]
    architecture: dict[str, Any]
    target: str = "backbones.causal_lm"
    prompt: dict[str, Any] = {}
    licence: str = ""
    languages: tuple[str, ...] = ()
    summary: str = ""

    def spec(self) -> BackboneSpec:
        return BackboneSpec(**dict(self))


class _Dataset(_Entry):
    name: str
    task: Literal["regression", "classification"]
    language: str
    metrics: Literal["mosei", "sims", "erc"]
    labels: tuple[str, ...] = ()
    label_range: tuple[float, float] | None = None
    features: dict[str, int] = {}
    prompts: dict[str, Any] = {}
    summary: str = ""
    source: _Source = _Source()

    def spec(self) -> DatasetSpec:
        return DatasetSpec(**{**dict(self), "source": self.source.spec()})


class _Recipe(_Entry):
    name: str
    dataset: str
    backbone: str
    pipeline: dict[str, Any]
    source: str = ""
    note: str = ""

    def spec(self) -> RecipeSpec:
        return RecipeSpec(**dict(self))


class _Published(_Entry):
    system: str
    dataset: str
    metrics: dict[str, float]
    source: str
    confidence: str
    backbone: str = ""
    note: str = ""

    def spec(self) -> PublishedResult:
        return PublishedResult(**dict(self))


class _File(_Entry):
    components: list[_Component] = []
    backbones: list[_Backbone] = []
    datasets: list[_Dataset] = []
    recipes: list[_Recipe] = []
    published: list[_Published] = []


def parse_dataset(content: Mapping[str, Any]) -> DatasetSpec:
    """Validate a dataset's description.

    Raises:
        ConfigError: Lists every problem.
    """
    try:
        return _Dataset.model_validate(content).spec()
    except ValidationError as error:
        raise ConfigError("dataset", problems_of(error)) from error


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What one layer offers, and where it says so."""

    origin: str
    components: tuple[ComponentSpec, ...] = ()
    backbones: tuple[BackboneSpec, ...] = ()
    datasets: tuple[DatasetSpec, ...] = ()
    recipes: tuple[RecipeSpec, ...] = ()
    published: tuple[PublishedResult, ...] = ()


def read_catalogue(path: Path) -> Catalogue:
    """Read one registry.yaml.

    Raises:
        ConfigError: The file is not YAML or not a registry; every problem is listed.
    """
    content = read_yaml(path)
    try:
        file = _File.model_validate(content)
        return Catalogue(
            origin=str(path),
            components=tuple(entry.spec() for entry in file.components),
            backbones=tuple(entry.spec() for entry in file.backbones),
            datasets=tuple(entry.spec() for entry in file.datasets),
            recipes=tuple(entry.spec() for entry in file.recipes),
            published=tuple(entry.spec() for entry in file.published),
        )
    except ValidationError as error:
        raise ConfigError(str(path), problems_of(error)) from error
    except ValueError as error:
        raise ConfigError(str(path), [("components", str(error))]) from error
