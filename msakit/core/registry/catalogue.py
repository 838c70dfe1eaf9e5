"""registry.yaml files: read, validated, turned into specifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from msakit.core.errors import ConfigError
from msakit.core.files import problems_of, read_yaml
from msakit.core.registry.specs import (
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    PublishedResult,
    RecipeSpec,
)

SHIPPED = Path(__file__).parents[2] / "registry.yaml"

Section = Literal["components", "backbones", "datasets", "recipes", "published"]


class _File(BaseModel):
    """A registry file; pydantic validates the specifications as they are declared in specs.py."""

    model_config = ConfigDict(extra="forbid")

    components: tuple[ComponentSpec, ...] = ()
    backbones: tuple[BackboneSpec, ...] = ()
    datasets: tuple[DatasetSpec, ...] = ()
    recipes: tuple[RecipeSpec, ...] = ()
    published: tuple[PublishedResult, ...] = ()


_DATASET = TypeAdapter(DatasetSpec)


def parse_dataset(content: Mapping[str, Any]) -> DatasetSpec:
    """Validate a dataset's description.

    Raises:
        ConfigError: Lists every problem.
    """
    try:
        return _DATASET.validate_python(content)
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
    except ValidationError as error:
        raise ConfigError(str(path), problems_of(error)) from error
    return Catalogue(str(path), file.components, file.backbones, file.datasets, file.recipes, file.published)
