"""registry.yaml files: read, validated, turned into specifications."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError, field_validator

from msakit.core.errors import ConfigError
from msakit.core.files import problems_of, read_yaml
from msakit.core.registry.recipes import RecipeMatrix
from msakit.core.registry.specs import (
    INTERFACE,
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    PublishedResult,
    RecipeSpec,
)
from msakit.core.settings import Settings

SHIPPED = Path(__file__).parents[2] / "registry.yaml"

Section = Literal["components", "backbones", "datasets", "recipes", "published"]


class _File(Settings):
    """A registry file; pydantic validates the specifications as they are declared in specs.py."""

    interface: int = INTERFACE
    components: tuple[ComponentSpec, ...] = ()
    backbones: tuple[BackboneSpec, ...] = ()
    datasets: tuple[DatasetSpec, ...] = ()
    recipes: tuple[RecipeMatrix, ...] = ()
    published: tuple[PublishedResult, ...] = ()
    trust_remote_code: tuple[str, ...] = ()

    @field_validator("interface")
    @classmethod
    def _is_ours(cls, interface: int) -> int:
        if interface != INTERFACE:
            msg = f"this msakit reads registry files of interface {INTERFACE}; install another version"
            raise ValueError(msg)
        return interface


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
    """The entries of one registry layer, and the file they come from."""

    origin: str
    components: tuple[ComponentSpec, ...] = ()
    backbones: tuple[BackboneSpec, ...] = ()
    datasets: tuple[DatasetSpec, ...] = ()
    recipes: tuple[RecipeSpec, ...] = ()
    published: tuple[PublishedResult, ...] = ()
    trust_remote_code: tuple[str, ...] = ()

    @classmethod
    def joined(cls, origin: str, catalogues: Iterable[Catalogue]) -> Catalogue:
        """Several catalogues as one of this origin."""
        sections = [field.name for field in fields(cls) if field.name != "origin"]
        parts = list(catalogues)
        return cls(origin, **{s: tuple(x for part in parts for x in getattr(part, s)) for s in sections})


def read_catalogue(path: Path, *, package: str = "") -> Catalogue:
    """Read one registry.yaml.

    Args:
        path: The file.
        package: The Python package that `target: .module:Class` is relative to; a plugin's own.

    Raises:
        InputError: The file cannot be read.
        ConfigError: The file is not YAML or not a registry; every problem is listed.
    """
    modified = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, package, modified)


@functools.lru_cache(maxsize=64)  # a process may load the registry many times
def _read(path: Path, package: str, modified: int) -> Catalogue:
    content = read_yaml(path)
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise ConfigError(str(path), problems_of(error)) from error
    components = tuple(_placed(spec, package, path) for spec in file.components)
    recipes = tuple(recipe for matrix in file.recipes for recipe in matrix.expand())
    offered = (components, file.backbones, file.datasets, recipes, file.published)
    return Catalogue(str(path), *offered, trust_remote_code=file.trust_remote_code)


def _placed(spec: ComponentSpec, package: str, path: Path) -> ComponentSpec:
    """The component with relative import paths made absolute."""
    paths = {"target": spec.target, "config": spec.config}
    relative = {key: value for key, value in paths.items() if value.startswith(".")}
    if relative and not package:
        problem = "a module relative to a package needs a plugin package; write its full name"
        raise ConfigError(str(path), [(f"{spec.name}.{key}", problem) for key in relative])
    absolute = {**paths, **{key: package + value for key, value in relative.items()}}
    return replace(spec, target=absolute["target"], config=absolute["config"])
