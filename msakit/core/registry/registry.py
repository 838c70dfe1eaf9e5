"""Names to things: components, backbones, datasets, recipes, from every layer.

Layers, later ones winning: the shipped registry.yaml, plugin packages, the user's configuration
folder, ./registry.yaml, files given with --registry.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs

from msakit.core.errors import InputError, MissingExtraError, PluginError, UnknownNameError
from msakit.core.registry.catalogue import SHIPPED, Catalogue, read_catalogue
from msakit.core.registry.plugins import PluginManager
from msakit.core.registry.specs import (
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    Kind,
    PublishedResult,
    RecipeSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T", ComponentSpec, BackboneSpec, DatasetSpec)

USER_FILE = Path(platformdirs.user_config_dir("msakit")) / "registry.yaml"
PROJECT_FILE = Path("registry.yaml")


@dataclass(frozen=True, slots=True)
class Match:
    """A name resolved: the component and the settings the name itself carried (`pseudo6`)."""

    spec: ComponentSpec
    settings: dict[str, int]


class Registry:
    """Everything that can be named.

    Args:
        layers: Catalogues in rising precedence; the layers of plugin packages share one precedence.
        manager: Whose hooks are called when pipelines are checked and runs finish.
    """

    def __init__(self, layers: Iterable[tuple[int, Catalogue]], manager: PluginManager | None = None) -> None:
        self.manager = manager or PluginManager(discover=False)
        self._layers = sorted(layers, key=lambda layer: layer[0])

    # Listing

    def components(self, kind: Kind | str | None = None) -> list[ComponentSpec]:
        """Every component (of one kind), the winning layer's where several define it."""
        winners = {(spec.kind, spec.full_name): spec for _, _, spec in self._entries("components")}
        return [spec for spec in winners.values() if kind is None or spec.kind == kind]

    def backbones(self) -> list[BackboneSpec]:
        """Every named backbone."""
        return list({spec.name: spec for _, _, spec in self._entries("backbones")}.values())

    def datasets(self) -> list[DatasetSpec]:
        """Every named dataset."""
        return list({spec.name: spec for _, _, spec in self._entries("datasets")}.values())

    def recipes(self) -> list[RecipeSpec]:
        """Every recipe, a paper's settings for one dataset and backbone."""
        winners = {(spec.name, spec.dataset, spec.backbone): spec for _, _, spec in self._entries("recipes")}
        return list(winners.values())

    def published(self) -> list[PublishedResult]:
        """Every published result."""
        return [spec for _, _, spec in self._entries("published")]

    def _entries(self, section: str) -> Iterator[tuple[int, Catalogue, Any]]:
        for precedence, catalogue in self._layers:
            for spec in getattr(catalogue, section):
                yield precedence, catalogue, spec

    # Looking up

    def component(self, kind: Kind | str, name: str) -> Match:
        """The component a user's name means.

        Raises:
            UnknownNameError: Nothing answers to the name.
            InputError: Two plugins claim it with the same right.
        """
        kind = Kind(kind)
        found = [
            (precedence, catalogue, spec, settings)
            for precedence, catalogue, spec in self._entries("components")
            if spec.kind == kind and (settings := spec.match(name)) is not None
        ]
        if not found:
            known = [spec.pattern or spec.short for spec in self.components(kind)]
            raise UnknownNameError(kind.value, name, known, command=f"msakit components list {kind.value}")
        top = max(precedence for precedence, *_ in found)
        winners = [entry for entry in found if entry[0] == top]
        newest = max(entry[2].version for entry in winners)
        winners = [entry for entry in winners if entry[2].version == newest]
        if len(winners) > 1:
            owners = ", ".join(f"{spec.full_name} of {catalogue.origin}" for _, catalogue, spec, _ in winners)
            msg = f"The {kind.value} name '{name}' is claimed by {owners}."
            raise InputError(msg, hint="Write the full name, or uninstall one of them.")
        _, _, spec, settings = winners[0]
        return Match(spec, settings)

    def backbone(self, name: str) -> BackboneSpec:
        """The backbone of that name."""
        return self._named("backbone", name, self.backbones())

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset of that name."""
        return self._named("dataset", name, self.datasets())

    def _named(self, what: str, name: str, specs: list[T]) -> T:
        for spec in specs:
            if spec.name == name:
                return spec
        names = [spec.name for spec in specs]
        raise UnknownNameError(what, name, names, command=f"msakit components list {what}")

    def recipe(self, name: str, dataset: str, backbone: str | None = None) -> RecipeSpec:
        """The published settings of a system on a dataset (and a backbone, where several have them)."""
        recipes = self.recipes()
        named = [recipe for recipe in recipes if recipe.name == name]
        if not named:
            raise UnknownNameError("recipe", name, {recipe.name for recipe in recipes})
        fitting = [recipe for recipe in named if recipe.dataset == dataset]
        if not fitting:
            raise UnknownNameError(f"dataset of recipe {name}", dataset, {recipe.dataset for recipe in named})
        for recipe in fitting:
            if backbone in (None, recipe.backbone):
                return recipe
        known = {recipe.backbone for recipe in fitting}
        raise UnknownNameError(f"backbone of recipe {name} on {dataset}", str(backbone), known)

    def origins(self, spec: ComponentSpec) -> list[str]:
        """Where a component is defined, the winning layer last."""
        return [
            catalogue.origin
            for _, catalogue, other in self._entries("components")
            if (other.kind, other.full_name) == (spec.kind, spec.full_name)
        ]

    # Importing

    def load_config_class(self, spec: ComponentSpec) -> Any:
        """The pydantic class of a component's settings."""
        return self._import(spec, spec.config)

    def load_target(self, spec: ComponentSpec) -> Any:
        """The component's class; this is where torch and friends get imported."""
        return self._import(spec, spec.target)

    def _import(self, spec: ComponentSpec, path: str) -> Any:
        module_name, _, attribute = path.partition(":")
        try:
            return getattr(importlib.import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            missing = error.name or module_name
            if spec.extra and not module_name.startswith(missing):
                raise MissingExtraError(f"The {spec.kind} '{spec.short}'", missing, spec.extra) from error
            msg = f"{spec.full_name}: '{path}' cannot be imported: {error}"
            raise PluginError(msg, hint=f"It is defined in {self.origins(spec)[-1]}.") from error
        except (ImportError, AttributeError) as error:
            msg = f"{spec.full_name}: '{path}' cannot be imported: {error}"
            raise PluginError(msg, hint=f"It is defined in {self.origins(spec)[-1]}.") from error


def load_registry(
    registry_files: Iterable[Path] = (), plugin_files: Iterable[Path] = (), *, discover: bool = True
) -> Registry:
    """Read every layer.

    Args:
        registry_files: Files of the user's that win over all others (`--registry`).
        plugin_files: Python files to load as plugins (`--plugin`).
        discover: Whether installed plugins and the user's own registry files are looked for.

    Raises:
        ConfigError: One of the files is not a valid registry.
    """
    layers = [(0, _shipped())]
    manager = PluginManager(plugin_files, discover=discover)
    layers += [(1, catalogue) for catalogue in manager.catalogues()]
    if discover:
        found = [path for path in (USER_FILE, PROJECT_FILE) if path.is_file()]
        layers += [(2 + index, read_catalogue(path)) for index, path in enumerate(found)]
    layers += [(10 + index, read_catalogue(path)) for index, path in enumerate(registry_files)]
    return Registry(layers, manager)


@functools.cache
def _shipped() -> Catalogue:
    return read_catalogue(SHIPPED)
