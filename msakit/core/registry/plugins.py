"""Loading plugins and asking them what they offer; a broken one does not break the rest."""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pluggy

from msakit.core.errors import InputError, PluginError
from msakit.core.hooks import Hooks
from msakit.core.registry.catalogue import Catalogue, read_catalogue
from msakit.core.registry.containment import describe_failure, stdout_kept
from msakit.core.registry.discovery import VARIABLE, distribution_of, module_from
from msakit.core.registry.specs import INTERFACE, BackboneSpec, ComponentSpec, DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import EntryPoint
    from pathlib import Path

FILE = "file"
HEAVY_MODULES = ("torch", "transformers", "peft", "h5py")


@dataclass(frozen=True, slots=True)
class PluginReport:
    """The outcome of loading one plugin.

    Attributes:
        name: Its entry-point name, or the path given with --plugin.
        distribution: The package it came in, with version.
        offers: What it names; nothing where it is broken.
        error: What went wrong, in a line, or None.
        traceback: Where it went wrong.
        imported: Heavy modules that importing it brought in; a plugin module should hold metadata only.
        printed: What it printed while it was loaded, which no command shows.
        deprecated: What it uses that will go, each with file and line.
    """

    name: str
    distribution: str
    offers: Catalogue
    error: str | None = None
    traceback: str = ""
    imported: tuple[str, ...] = ()
    printed: str = ""
    deprecated: tuple[str, ...] = ()


class PluginManager:
    """Loads plugins one by one and asks them what they offer.

    Args:
        entries: Entry points, as `find_plugins` finds them.
        files: Python files given by the user (`--plugin`), loaded as modules.

    Raises:
        InputError: A file is not there.
        PluginError: A file cannot be loaded.
    """

    def __init__(self, entries: Iterable[EntryPoint] = (), files: Iterable[Path] = ()) -> None:
        self._manager = pluggy.PluginManager("msakit")
        self._manager.add_hookspecs(Hooks)
        self.reports: list[PluginReport] = []
        for entry in entries:
            self.reports.append(self._report(entry))
        for path in files:
            self.reports.append(self._load_file(path))

    def broken(self) -> list[PluginReport]:
        """The plugins that could not be used."""
        return [report for report in self.reports if report.error]

    def catalogues(self) -> Iterator[Catalogue]:
        """Everything the working plugins offer."""
        return (report.offers for report in self.reports if not report.error)

    def _report(self, entry: EntryPoint) -> PluginReport:
        """Load an installed plugin; one that fails is reported and left out."""
        name, distribution = entry.name, distribution_of(entry)
        try:
            return self._load(name, distribution, entry.load)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - someone else's code must not break the rest
            nothing = Catalogue(_origin(name, distribution))
            return PluginReport(name, distribution, nothing, describe_failure(error), traceback.format_exc())

    def _load_file(self, path: Path) -> PluginReport:
        """Load a file the user gave; one that fails ends the command."""
        try:
            return self._load(str(path), FILE, partial(module_from, path))
        except (InputError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise PluginError(f"--plugin {path} cannot be loaded: {describe_failure(error)}") from error

    def _load(self, name: str, distribution: str, load: Callable[[], Any]) -> PluginReport:
        before, printed = set(sys.modules), io.StringIO()
        with stdout_kept(printed), _deprecations() as deprecated:
            offers = self._register(name, load, _origin(name, distribution))
        return PluginReport(
            name,
            distribution,
            offers,
            imported=tuple(module for module in HEAVY_MODULES if module in set(sys.modules) - before),
            printed=printed.getvalue()[:500],
            deprecated=tuple(f"{each.filename}:{each.lineno}: {each.message}" for each in deprecated),
        )

    def _register(self, name: str, load: Callable[[], Any], origin: str) -> Catalogue:
        plugin = load()
        wanted = getattr(plugin, "MSAKIT_INTERFACE", INTERFACE)
        if wanted != INTERFACE:
            msg = (
                f"it is written for interface {wanted}, and this msakit has {INTERFACE}; update the older one"
            )
            raise PluginError(msg)
        if self._manager.has_plugin(name):
            msg = f"a plugin called '{name}' is loaded already; {VARIABLE}=-{name} leaves out a built-in one"
            raise PluginError(msg)
        self._manager.register(plugin, name=name)
        try:
            self._check_hook_names(plugin)
            return self._ask(plugin, origin)
        except BaseException:
            self._manager.unregister(name=name)
            raise

    def _check_hook_names(self, plugin: Any) -> None:
        """Refuse a misspelt hook, which pluggy would silently never call."""
        known = {hook for hook in dir(Hooks) if hook.startswith("msakit_")}
        for attribute in dir(plugin):
            if attribute.startswith("msakit_") and attribute not in known:
                msg = f"unknown hook '{attribute}'; the hooks are {', '.join(sorted(known))}"
                raise AttributeError(msg)

    def _ask(self, plugin: Any, origin: str) -> Catalogue:
        package = getattr(plugin, "__package__", "") or ""
        files = [read_catalogue(path, package=package) for path in self._answers(plugin, "registry_files")]
        offered = {
            "components": self._specs(plugin, "components", ComponentSpec),
            "backbones": self._specs(plugin, "backbones", BackboneSpec),
            "datasets": self._specs(plugin, "datasets", DatasetSpec),
        }
        return Catalogue.joined(origin, [Catalogue(origin, **offered), *files])

    def _specs(self, plugin: Any, section: str, kind: type[Any]) -> tuple[Any, ...]:
        specs = self._answers(plugin, section)
        for spec in specs:
            if not isinstance(spec, kind):
                msg = f"msakit_{section} must yield {kind.__name__} objects, not {type(spec).__name__}"
                raise TypeError(msg)
        return tuple(specs)

    def _answers(self, plugin: Any, section: str) -> list[Any]:
        implementations = getattr(self._manager.hook, f"msakit_{section}").get_hookimpls()
        return [item for each in implementations if each.plugin is plugin for item in each.function()]

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook of every plugin; the results, with generators exhausted.

        Raises:
            PluginError: An implementation fails; it names the plugin.
        """
        results: list[Any] = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                given = (arguments[name] for name in implementation.argnames)
                with stdout_kept():
                    results.extend(implementation.function(*given) or ())
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                name = implementation.plugin_name
                msg = f"plugin {name}: {hook} failed: {describe_failure(error)}"
                raise PluginError(msg, hint=f"Leave it out with {VARIABLE}=-{name}.") from error
        return results

    def notify(self, hook: str, **arguments: Any) -> list[str]:
        """Call a hook of every plugin for its effect; what failed, as messages, stops nothing."""
        failures = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                with stdout_kept():
                    implementation.function(*(arguments[name] for name in implementation.argnames))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - a tracker's failure must not cost a finished run
                failures.append(f"plugin {implementation.plugin_name}: {hook}: {describe_failure(error)}")
        return failures


@contextmanager
def _deprecations() -> Iterator[list[warnings.WarningMessage]]:
    """Collect what the block is warned of as deprecated, and hand every warning on."""
    deprecated: list[warnings.WarningMessage] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        yield deprecated
    for each in caught:
        if issubclass(each.category, DeprecationWarning) and "msakit" in str(each.message):
            deprecated.append(each)
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _origin(name: str, distribution: str) -> str:
    return f"plugin {name} ({distribution})"
