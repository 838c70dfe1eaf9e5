"""Finding plugins, keeping broken ones from breaking the rest."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from msakit.core.errors import InputError, PluginError
from msakit.core.hooks import Hooks
from msakit.core.registry.catalogue import Catalogue
from msakit.core.registry.specs import BackboneSpec, ComponentSpec, DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

GROUP = "msakit"
FILE = "file"
HEAVY_MODULES = ("torch", "transformers", "peft", "h5py")


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What became of one plugin.

    Attributes:
        name: Its entry-point name, or the path given with --plugin.
        distribution: The package it came in, with version.
        error: The traceback of what went wrong, or None.
        imported: Heavy modules that importing it brought in; a plugin module should hold metadata only.
    """

    name: str
    distribution: str
    error: str | None = None
    imported: tuple[str, ...] = ()


def _allowed(name: str) -> bool:
    """Whether MSAKIT_PLUGINS (comma-separated; empty means none) lets an installed plugin load."""
    restriction = os.environ.get("MSAKIT_PLUGINS")
    return restriction is None or name in {part.strip() for part in restriction.split(",")}


class PluginManager:
    """Loads plugins one by one and asks them what they offer.

    Args:
        files: Python files given by the user (`--plugin`), loaded as modules.
        discover: Whether to look for installed plugins.
    """

    def __init__(self, files: Iterable[Path] = (), *, discover: bool = True) -> None:
        self._manager = pluggy.PluginManager("msakit")
        self._manager.add_hookspecs(Hooks)
        self.reports: list[PluginReport] = []
        for path in files:
            self._register(str(path), FILE, partial(_module_from, path))
        if discover:
            for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
                if _allowed(entry.name):
                    self._register(entry.name, _distribution(entry), entry.load)

    def _register(self, name: str, distribution: str, load: Callable[[], Any]) -> None:
        before = set(sys.modules)
        try:
            plugin = load()
            self._manager.register(plugin, name=name)
            self._check_hook_names(name)
        except InputError:
            raise
        except Exception as error:
            if distribution == FILE:
                msg = f"--plugin {name} cannot be loaded: {type(error).__name__}: {error}"
                raise PluginError(msg) from error
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self.reports.append(PluginReport(name, distribution, error=traceback.format_exc()))
            return
        imported = tuple(module for module in HEAVY_MODULES if module in set(sys.modules) - before)
        self.reports.append(PluginReport(name, distribution, imported=imported))

    def _check_hook_names(self, name: str) -> None:
        """Refuse a misspelt hook, which pluggy would silently never call."""
        known = {hook for hook in dir(Hooks) if hook.startswith("msakit_")}
        for attribute in dir(self._manager.get_plugin(name)):
            if attribute.startswith("msakit_") and attribute not in known:
                msg = f"unknown hook '{attribute}'; the hooks are {', '.join(sorted(known))}"
                raise AttributeError(msg)

    def catalogues(self) -> Iterator[Catalogue]:
        """What each working plugin offers; one whose hook fails is reported and left out."""
        for index, report in enumerate(list(self.reports)):
            if report.error is not None:
                continue
            try:
                yield Catalogue(
                    origin=f"plugin {report.name} ({report.distribution})",
                    components=self._collect(report.name, "msakit_components", ComponentSpec),
                    backbones=self._collect(report.name, "msakit_backbones", BackboneSpec),
                    datasets=self._collect(report.name, "msakit_datasets", DatasetSpec),
                )
            except Exception:  # noqa: BLE001 - as above
                self.reports[index] = PluginReport(
                    report.name, report.distribution, traceback.format_exc(), report.imported
                )

    def _collect(self, plugin_name: str, hook: str, kind: type[Any]) -> tuple[Any, ...]:
        plugin = self._manager.get_plugin(plugin_name)
        specs: list[Any] = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is plugin:
                specs.extend(implementation.function())
        for spec in specs:
            if not isinstance(spec, kind):
                msg = f"{hook} must yield {kind.__name__} objects, not {type(spec).__name__}"
                raise TypeError(msg)
        return tuple(specs)

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook of every plugin; the results, with generators exhausted."""
        results = getattr(self._manager.hook, hook)(**arguments)
        return [item for result in results if result is not None for item in result]

    def notify(self, hook: str, **arguments: Any) -> list[str]:
        """Call a hook of every plugin for its effect; what failed, as messages, stops nothing."""
        failures = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:  # noqa: BLE001 - a tracker's failure must not cost a finished run
                failures.append(
                    f"plugin {implementation.plugin_name}: {hook}: {type(error).__name__}: {error}"
                )
        return failures


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"


def _module_from(path: Path) -> Any:
    if not path.is_file():
        msg = f"--plugin {path}: no such file"
        raise InputError(msg)
    spec = importlib.util.spec_from_file_location(f"msakit_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        msg = f"--plugin {path}: not a Python file"
        raise InputError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
