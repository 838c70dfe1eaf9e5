"""From names, overrides and a store to a resolved pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, UnknownNameError
from msakit.core.pipeline.assembly import assemble
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.overrides import override
from msakit.core.pipeline.resolution import resolve
from msakit.feature_store import FeatureStore
from msakit.samples.samples import Samples
from msakit.samples.stored_dataset import describe_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry

SOURCE = "the pipeline"


def assemble_content(
    registry: Registry,
    names: Mapping[str, Any],
    *,
    base: Mapping[str, Any] | None = None,
    encoders: Sequence[str] = (),
    recipe: str | None = None,
    overrides: Iterable[tuple[str, Any]] = (),
    store: Path | None = None,
) -> dict[str, Any]:
    """The content of a pipeline file, its dataset described by the store where no registry knows it.

    Args:
        registry: Where names are looked up.
        names: Any of dataset, fuser, injector and backbone. Without a dataset, a store's only one is meant.
        base: The content of a pipeline file to start from.
        encoders: An encoder for every modality, or "modality=encoder".
        recipe: A paper's settings to start from.
        overrides: Dotted keys and their values, as `--set` gives them.
        store: A feature store that holds the dataset.

    Raises:
        InputError: A name is unknown, or both a file and a recipe are given.
        DataError: The store does not hold the dataset.
    """
    if base is not None and recipe:
        raise InputError("A pipeline file and a recipe were given.", hint="Give one of them.")
    chosen = dict(names)
    dataset = chosen.get("dataset") or (base or {}).get("dataset")
    if dataset is None and store is not None and not recipe:
        held = FeatureStore.open(store).datasets()
        dataset = held[0] if len(held) == 1 else None
    if isinstance(dataset, str):
        chosen["dataset"] = describe_dataset(registry, dataset, store)
    return override(assemble(registry, chosen, encoders=encoders, recipe=recipe, base=base), overrides)


def assemble_pipeline(
    registry: Registry,
    names: Mapping[str, Any],
    *,
    encoders: Sequence[str] = (),
    recipe: str | None = None,
    overrides: Iterable[tuple[str, Any]] = (),
    store: Path | None = None,
) -> ResolvedPipeline:
    """Assemble and resolve a pipeline; a dataset the registry does not know is described by the store.

    Args:
        registry: Where names are looked up.
        names: Any of dataset, fuser, injector and backbone.
        encoders: An encoder for every modality, or "modality=encoder".
        recipe: A paper's settings to start from.
        overrides: Dotted keys and their values, as `--set` gives them.
        store: A feature store that holds the dataset.

    Raises:
        InputError: A name is unknown, a value wrong, or a combination impossible.
        DataError: The store does not hold the dataset.
    """
    content = assemble_content(
        registry, names, encoders=encoders, recipe=recipe, overrides=overrides, store=store
    )
    return resolve(parse_pipeline(content, SOURCE), registry, source=SOURCE)


def describe_dataset(registry: Registry, name: str, store: Path | None) -> str | dict[str, Any]:
    """The name itself where the registry knows it, else its description by the store's table.

    Raises:
        UnknownNameError: Neither knows it.
        DataError: The store has no such dataset.
    """
    try:
        registry.dataset(name)
    except UnknownNameError as error:
        if store is None:
            error.hint = (
                f"{error.hint}\nA dataset of your own is described by its table in a store: "
                "add --store STORE. Or describe it in a registry.yaml (docs/plugins/registry.md)."
            )
            raise
        return describe_stored(store, name)
    return name


def stored_widths(resolved: ResolvedPipeline, store: Path | None) -> Mapping[str, int] | None:
    """Modality to the width of its stored features; None without a store."""
    return None if store is None else Samples.open(store, resolved).widths
