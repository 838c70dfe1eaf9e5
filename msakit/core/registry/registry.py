"""Names to things: components, backbones, datasets, recipes, from every layer.

Layers, later ones winning: msakit's plugins and other packages', all of the same right; the user's
configuration folder; ./registry.yaml; files given with --registry.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs
from pydantic import BaseModel, ValidationError

from msakit.core.errors import ConfigError, InputError, MissingExtraError, PluginError, UnknownNameError
from msakit.core.files import problems_of
from msakit.core.registry.catalogue import SHIPPED, Catalogue, read_catalogue
from msakit.core.registry.containment import describe_failure, stdout_kept
from msakit.core.registry.discovery import VARIABLE, find_plugins
from msakit.core.registry.plugins import PluginManager
from msakit.core.registry.specs import (
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    Kind,
    PublishedResult,
    RecipeSpec,
)
from msakit.core.trust import trust_remote_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

T = TypeVar("T", ComponentSpec, BackboneSpec, DatasetSpec, RecipeSpec)

USER_FILE = Path(platformdirs.user_config_dir("msakit")) / "registry.yaml"
PROJECT_FILE = Path("registry.yaml")
_REMEDY = "Set it to {} too, or name the component '{}'."


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen component: what it is and how it is set."""

    spec: ComponentSpec
    settings: BaseModel

    def as_yaml(self) -> dict[str, Any]:
        """The full name with every setting, defaults written out."""
        return {"name": self.spec.full_name, **self.settings.model_dump(mode="json")}


class Registry:
    """Everything that can be named.

    Args:
        layers: Precedence and catalogue; plugins share one precedence, so none wins over another.
        manager: Whose hooks are called when pipelines are checked and runs finish.
        unasked: Components whose classes are not imported, since the user has not asked for their file.
    """

    def __init__(
        self,
        layers: Iterable[tuple[int, Catalogue]],
        manager: PluginManager | None = None,
        unasked: Iterable[ComponentSpec] = (),
    ) -> None:
        self.manager: PluginManager = manager or PluginManager()
        self._unasked = frozenset(unasked)
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
        winners = {_cell(spec): spec for _, _, spec in self._entries("recipes")}
        return list(winners.values())

    def published(self) -> list[PublishedResult]:
        """Every published result."""
        return [spec for _, _, spec in self._entries("published")]

    def _entries(self, section: str) -> Iterator[tuple[int, Catalogue, Any]]:
        for precedence, catalogue in self._layers:
            for spec in getattr(catalogue, section):
                yield precedence, catalogue, spec

    # Looking up

    def component(self, kind: Kind | str, name: str) -> ComponentSpec:
        """The component a user's name means.

        Raises:
            UnknownNameError: Nothing answers to the name.
            InputError: Two plugins claim it with the same right.
        """
        kind = Kind(kind)
        entries: list[tuple[int, Catalogue, ComponentSpec]] = list(self._entries("components"))
        found = [entry for entry in entries if entry[2].kind == kind and entry[2].match(name) is not None]
        known = (spec.pattern or spec.short for spec in self.components(kind))
        winners = self._winners(kind.value, name, found, known)
        return max(winners, key=lambda spec: spec.version)

    def choose(self, kind: Kind | str, name: str, settings: Mapping[str, Any]) -> Choice:
        """The component a user's name means, with these settings and those the name itself carries.

        Raises:
            UnknownNameError: Nothing answers to the name.
            InputError: Two plugins claim it with the same right.
            ConfigError: A setting is wrong, or contradicts the name.
        """
        spec = self.component(kind, name)
        carried = spec.match(name) or {}
        if clashes := [
            (key, f"{settings[key]}, but the name '{name}' says {count}. {_REMEDY.format(count, spec.short)}")
            for key, count in carried.items()
            if settings.get(key, count) != count
        ]:
            raise ConfigError(f"{spec.kind} {spec.short}", clashes)
        try:
            validated = self.load_config_class(spec).model_validate({**carried, **settings})
        except ValidationError as error:
            raise ConfigError(f"{spec.kind} {spec.short}", problems_of(error)) from error
        return Choice(spec, validated)

    def backbone(self, name: str) -> BackboneSpec:
        """The backbone of that name."""
        entries: list[tuple[int, Catalogue, BackboneSpec]] = list(self._entries("backbones"))
        return self._named("backbone", name, entries)

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset of that name."""
        entries: list[tuple[int, Catalogue, DatasetSpec]] = list(self._entries("datasets"))
        return self._named("dataset", name, entries)

    def _named(self, what: str, name: str, entries: list[tuple[int, Catalogue, T]]) -> T:
        found = [entry for entry in entries if entry[2].name == name]
        return self._winners(what, name, found, (spec.name for _, _, spec in entries))[-1]

    def _winners(
        self, what: str, name: str, found: list[tuple[int, Catalogue, T]], known: Iterable[str]
    ) -> list[T]:
        """The entry of that name in the winning layer; two plugins that both define it are an error."""
        if not found:
            raise self._unknown(what, name, known)
        top = max(precedence for precedence, *_ in found)
        owners = {catalogue.origin: spec for precedence, catalogue, spec in found if precedence == top}
        if len(owners) > 1:
            names = {origin: getattr(spec, "full_name", spec.name) for origin, spec in owners.items()}
            claims = " and ".join(f"{full} of {origin}" for origin, full in names.items())
            hint = f"Leave one out: {VARIABLE}=-PLUGIN."
            if len(set(names.values())) > 1:
                hint = f"Write the full name: {' or '.join(names.values())}."
            raise InputError(f"The {what} name '{name}' is claimed by {claims}.", hint=hint)
        return [spec for precedence, _, spec in found if precedence == top]

    def _unknown(self, what: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """The error for a name nothing answers to; a plugin that is broken might have had it."""
        error = UnknownNameError(what, name, known, command=f"msakit components list {what}")
        broken = [f"{r.offers.origin} could not be loaded: {r.error}" for r in self.manager.broken()]
        error.hint = "\n".join([str(error.hint), *broken])
        return error

    def recipe(self, name: str, dataset: str, backbone: str | None = None) -> RecipeSpec:
        """The published settings of a system on a dataset (and a backbone, where several have them)."""
        recipes = self.recipes()
        named = [recipe for recipe in recipes if recipe.name == name]
        if not named:
            raise UnknownNameError("recipe", name, {recipe.name for recipe in recipes})
        fitting = [recipe for recipe in named if recipe.dataset == dataset]
        if not fitting:
            raise UnknownNameError(f"dataset of recipe {name}", dataset, {recipe.dataset for recipe in named})
        known = [recipe.backbone for recipe in fitting]
        wanted = backbone or known[0]
        key = (name, dataset, wanted)
        entries: list[tuple[int, Catalogue, RecipeSpec]] = list(self._entries("recipes"))
        found = [entry for entry in entries if _cell(entry[2]) == key]
        return self._winners(f"backbone of recipe {name} on {dataset}", wanted, found, known)[-1]

    def origins(self, spec: ComponentSpec) -> list[str]:
        """Where a component is defined, the winning layer last."""
        return [
            catalogue.origin
            for _, catalogue, other in self._entries("components")
            if (other.kind, other.full_name) == (spec.kind, spec.full_name)
        ]

    def distribution(self, spec: ComponentSpec) -> str | None:
        """The package (name and version) whose plugin offers a component; None for a registry file's."""
        reports = (report for report in self.manager.reports if spec in report.offers.components)
        return next((report.distribution for report in reports), None)

    # Importing

    def load_config_class(self, spec: ComponentSpec) -> Any:
        """The pydantic class of a component's settings."""
        found = self._import(spec, spec.config)
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            msg = f"{spec.full_name}: '{spec.config}' is not a pydantic model"
            raise PluginError(msg, hint=f"It is defined in {self.origins(spec)[-1]}.")
        return found

    def load_target(self, spec: ComponentSpec) -> Any:
        """The component's class; this is where torch and friends get imported."""
        return self._import(spec, spec.target)

    def _import(self, spec: ComponentSpec, path: str) -> Any:
        if spec in self._unasked:
            msg = f"{spec.full_name}: {PROJECT_FILE} in this folder names '{path}', which no plugin brings."
            raise InputError(msg, hint=f"If you trust that code: msakit --registry {PROJECT_FILE} ...")
        module_name, _, attribute = path.partition(":")
        try:
            with stdout_kept():
                return getattr(importlib.import_module(module_name), attribute)
        except KeyboardInterrupt:
            raise
        except ModuleNotFoundError as error:
            missing = error.name or module_name
            if spec.extra and not module_name.startswith(missing):
                raise MissingExtraError(f"The {spec.kind} '{spec.short}'", missing, spec.extra) from error
            msg = f"{spec.full_name}: '{path}' cannot be imported: {error}"
            raise PluginError(msg, hint=f"It is defined in {self.origins(spec)[-1]}.") from error
        except BaseException as error:
            msg = f"{spec.full_name}: '{path}' cannot be imported: {describe_failure(error)}"
            raise PluginError(msg, hint=f"It is defined in {self.origins(spec)[-1]}.") from error


def _cell(recipe: RecipeSpec) -> tuple[str, str, str]:
    return recipe.name, recipe.dataset, recipe.backbone


def load_registry(
    registry_files: Iterable[Path] = (), plugin_files: Iterable[Path] = (), *, discover: bool = True
) -> Registry:
    """Read every layer.

    Args:
        registry_files: Files of the user's that win over all others (`--registry`).
        plugin_files: Python files to load as plugins (`--plugin`).
        discover: Whether other packages' plugins and the user's own registry files are looked for.

    Raises:
        ConfigError: One of the files is not a valid registry, or grants what only the user's own can.
    """
    entries = find_plugins(discover=discover)
    manager = PluginManager(entries, plugin_files)
    layers = [(0, read_catalogue(SHIPPED)), *((0, catalogue) for catalogue in manager.catalogues())]
    found = [path for path in (USER_FILE, PROJECT_FILE) if discover and path.exists()]
    unasked: set[ComponentSpec] = set()
    for rank, path in enumerate([*found, *registry_files], start=1):
        catalogue = read_catalogue(path)
        _take_consent(path, catalogue)
        if path == PROJECT_FILE and rank <= len(found):
            packages = {"msakit", *(entry.module.partition(".")[0] for entry in entries)}
            unasked = _foreign(catalogue, packages)
        else:
            unasked -= set(catalogue.components)
        layers.append((rank, catalogue))
    return Registry(layers, manager, unasked)


def _take_consent(path: Path, catalogue: Catalogue) -> None:
    """Trust the repositories that the user's own registry names; refuse a file that travels and does so."""
    if path == USER_FILE:
        trust_remote_code(*catalogue.trust_remote_code)
    elif catalogue.trust_remote_code:
        problem = f"code is trusted by {USER_FILE} or by --trust-remote-code on the command line alone"
        raise ConfigError(str(path), [("trust_remote_code", problem)])


def _foreign(catalogue: Catalogue, packages: set[str]) -> set[ComponentSpec]:
    """Components with a class that lies outside these packages."""
    return {
        spec
        for spec in catalogue.components
        if not {path.partition(":")[0].partition(".")[0] for path in (spec.target, spec.config)} <= packages
    }
