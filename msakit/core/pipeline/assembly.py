"""From a few names to the content of a pipeline file: what is not named gets a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msakit.core.errors import ConfigError
from msakit.core.pipeline.config import ComponentChoice, DatasetChoice
from msakit.core.pipeline.overrides import merge
from msakit.core.pipeline.resolution import resolve_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msakit.core.registry.registry import Registry

DEFAULTS: dict[str, Any] = {
    "dataset": "mosei",
    "fuser": "tgm",
    "injector": "pseudo6",
    "backbone": "smollm2-135m",
}
DEFAULT_ENCODERS = {"needs_summary": "lstm", "needs_sequence": "bilstm"}


def assemble(
    registry: Registry,
    names: Mapping[str, Any],
    *,
    encoders: Sequence[str] = (),
    recipe: str | None = None,
    base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of a pipeline file.

    Args:
        registry: Where names are looked up.
        names: Any of dataset, fuser, injector and backbone; a name, or a mapping with settings.
        encoders: An encoder for every modality ("bilstm"), or "modality=encoder".
        recipe: A paper's settings to start from.
        base: The content of a pipeline file to start from; default: the defaults.

    Raises:
        UnknownNameError: There is no such recipe, dataset or fuser.
        ConfigError: An encoder is given for a modality the dataset does not have.
    """
    content = dict(DEFAULTS if base is None else base)
    if recipe:
        dataset = names.get("dataset") or _usual_dataset(registry, recipe)
        found = registry.recipe(recipe, _name_of(dataset), names.get("backbone"))
        content = merge({"dataset": found.dataset, "backbone": found.backbone}, found.pipeline)
    content = merge(content, names)
    if encoders or "encoders" not in content:
        content["encoders"] = _choose_encoders(registry, content, encoders)
    return content


def _choose_encoders(registry: Registry, content: Mapping[str, Any], given: Sequence[str]) -> dict[str, str]:
    """One encoder for each modality: the one given for it, the one given for all, or what fits the fuser."""
    dataset = resolve_dataset(DatasetChoice.model_validate(content["dataset"]), registry)
    modalities = list(dataset.features) or ["audio", "vision"]
    named = dict(choice.split("=", 1) for choice in given if "=" in choice)
    shared = [choice for choice in given if "=" not in choice]
    if unknown := [name for name in named if name not in modalities]:
        problem = f"the dataset has no such modality; it has {', '.join(modalities)}"
        raise ConfigError("--encoder", [(name, problem) for name in unknown])
    if named and not shared:
        return named
    fuser = registry.component("fuser", ComponentChoice.model_validate(content["fuser"]).name)
    fitting = [name for need, name in DEFAULT_ENCODERS.items() if need in fuser.capabilities]
    if not given and not fitting:
        return {}
    usual = shared[-1] if shared else fitting[0]
    return {name: named.get(name, usual) for name in modalities}


def _usual_dataset(registry: Registry, recipe: str) -> str:
    """The default dataset where the recipe is published on it, else the first one it is published on."""
    published = [found.dataset for found in registry.recipes() if found.name == recipe]
    usual = str(DEFAULTS["dataset"])
    return usual if usual in published or not published else published[0]


def _name_of(choice: Any) -> str:
    return str(choice["name"] if isinstance(choice, dict) else choice)
