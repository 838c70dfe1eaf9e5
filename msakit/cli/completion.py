"""Values the shell offers at the Tab key: names of the registry, metrics, runs and stores.

Completers are silent: what cannot be read offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msakit.cli.context import options
from msakit.core.errors import MsakitError
from msakit.core.registry.specs import Kind

Completer = Callable[[str], list[str]]
RUNS = Path("runs")
_RUN_DEPTH = 3


def names_of(kind: Kind) -> Completer:
    """Components of one kind; of patterns (`pseudo{tokens}`) what stands before the count."""

    def complete(incomplete: str) -> list[str]:
        registry = options.registry()
        if kind is Kind.BACKBONE:
            return _starting(incomplete, (spec.name for spec in registry.backbones()))
        found = (spec.pattern or spec.short for spec in registry.components(kind))
        return _starting(incomplete, (name.partition("{")[0] for name in found))

    return _silent(complete)


def _silent(complete: Completer) -> Completer:
    def quietly(incomplete: str) -> list[str]:
        try:
            return complete(incomplete)
        except (MsakitError, OSError):
            return []

    return quietly


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


@_silent
def encoders(incomplete: str) -> list[str]:
    """Encoders, after MODALITY= as well."""
    modality, equals, name = incomplete.rpartition("=")
    return [f"{modality}{equals}{each}" for each in names_of(Kind.ENCODER)(name)]


@_silent
def datasets(incomplete: str) -> list[str]:
    """Datasets of the registry."""
    return _starting(incomplete, (spec.name for spec in options.registry().datasets()))


@_silent
def recipes(incomplete: str) -> list[str]:
    """Recipes of the registry."""
    return _starting(incomplete, (spec.name for spec in options.registry().recipes()))


@_silent
def everything(incomplete: str) -> list[str]:
    """Every name of the registry."""
    found = [name for kind in Kind for name in names_of(kind)(incomplete)]
    return sorted({*found, *datasets(incomplete), *recipes(incomplete)})


@_silent
def metrics(incomplete: str) -> list[str]:
    """Metrics of every family."""
    from msakit.metrics import FAMILIES

    return _starting(incomplete, (metric.name for family in FAMILIES.values() for metric in family))


@_silent
def runs(incomplete: str) -> list[str]:
    """Runs, and folders of runs, below `runs` or below the folder that is being typed."""
    root = Path(incomplete.rpartition("/")[0] or RUNS) if "/" in incomplete else RUNS
    found = {file.parent for depth in range(_RUN_DEPTH) for file in root.glob(f"{'*/' * depth}pipeline.yaml")}
    found |= {folder.parent for folder in found if folder.name.startswith("seed-")}
    return _starting(incomplete, map(str, found))


@_silent
def stores(incomplete: str) -> list[str]:
    """Stores here or in the folder that is being typed, and `demo`."""
    folder = Path(incomplete.rpartition("/")[0] or ("/" if incomplete.startswith("/") else "."))
    found = [path for path in folder.iterdir() if path.suffix == ".h5" or (path / "STORE.json").is_file()]
    return _starting(incomplete, ["demo", *map(str, found)])
