"""Where plugins come from: msakit itself, installed packages, files; MSAKIT_PLUGINS chooses among them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

GROUP = "msakit"
VARIABLE = "MSAKIT_PLUGINS"
SOURCE = Path(__file__).parents[3]


def find_plugins(*, discover: bool = True) -> list[EntryPoint]:
    """Entry points of the plugins to load: msakit's own, then those of other packages by name.

    `MSAKIT_PLUGINS` is a comma-separated list. `-NAME` leaves a plugin out, the built-in one where a
    package has one of that name too; a plain NAME lets only the packages named load beside the built-in
    ones; empty means none but those.

    Args:
        discover: Whether packages other than msakit are looked for.

    Raises:
        InputError: MSAKIT_PLUGINS leaves out a plugin that does not exist.
        PluginError: The metadata of the installed msakit is older than its source.
    """
    own = own_plugins()
    others = [entry for entry in entry_points(group=GROUP) if entry not in own] if discover else []
    others.sort(key=lambda entry: entry.name)
    restriction = os.environ.get(VARIABLE)
    if restriction is None:
        return [*own, *others]
    words = {word.strip() for word in restriction.split(",")} - {""}
    left_out = {word.removeprefix("-") for word in words if word.startswith("-")}
    if discover and (unknown := left_out - {entry.name for entry in (*own, *others)}):
        known = ", ".join(sorted({entry.name for entry in (*own, *others)}))
        msg = f"{VARIABLE} leaves out {', '.join(sorted(unknown))}, which is not installed."
        raise InputError(msg, hint=f"Installed: {known}.")
    wanted = {word for word in words if not word.startswith("-")}
    if wanted or not words:
        others = [entry for entry in others if entry.name in wanted]
    kept = [entry for entry in own if entry.name not in left_out]
    left_out -= {entry.name for entry in own}
    return [*kept, *(entry for entry in others if entry.name not in left_out)]


def own_plugins() -> list[EntryPoint]:
    """The entry points of msakit itself, one for each folder of `msakit/plugins`.

    Raises:
        PluginError: The installed metadata lacks a folder that the source has.
    """
    try:
        entries = sorted(distribution("msakit").entry_points.select(group=GROUP), key=lambda e: e.name)
    except PackageNotFoundError:
        entries = []
    registered = {entry.module for entry in entries}
    folders = sorted(path.parent.name for path in (SOURCE / "msakit" / "plugins").glob("*/plugin.py"))
    if missing := [name for name in folders if f"msakit.plugins.{name}.plugin" not in registered]:
        msg = f"The installed metadata of msakit does not know its plugins {', '.join(missing)}."
        raise PluginError(msg, hint=f"Bring it up to date with: pip install --no-deps -e {SOURCE}")
    return entries


def distribution_of(entry: EntryPoint) -> str:
    """Name and version of the package an entry point came in."""
    return _label(entry.dist) if entry.dist else "unknown distribution"


@functools.cache  # parsing metadata takes a millisecond, and a package may hold several plugins
def _label(found: Distribution) -> str:
    metadata = found.metadata
    return f"{metadata['Name']} {metadata['Version']}"


def module_from(path: Path) -> Any:
    """A Python file given with --plugin, as a module.

    Raises:
        InputError: There is no such file, or it is not Python.
    """
    if not path.is_file():
        msg = f"--plugin {path}: no such file"
        raise InputError(msg)
    if (path.parent / "__init__.py").is_file():  # part of a package, whose other modules it may name
        folder = str(path.resolve().parents[1])
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(f"{path.resolve().parent.name}.{path.stem}")
    spec = importlib.util.spec_from_file_location(f"msakit_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        msg = f"--plugin {path}: not a Python file"
        raise InputError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
