"""Whether features are those a run was trained on: how they were made is compared, not their width alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msakit.core.errors import DataError

_COMPARED = ("extractor", "frame_shift_s", "weights")
_LIBRARIES = "libraries"
_ORIGIN = "dataset"  # where imported features came from, which is no part of how they were made
_SHOWN_DIGITS = 12

Recipe = Mapping[str, Any]


def check_recipe(modality: str, trained: Recipe, present: Recipe, *, what: str, allow: bool) -> list[str]:
    """Refuse features that were made otherwise than those of a run.

    Args:
        modality: Whose features.
        trained: What the run recorded of its features (features.json).
        present: What made the features at hand, in the same words.
        what: What holds them, for the message.
        allow: Whether other features are taken all the same.

    Returns:
        Warnings: libraries of other versions; differences that were allowed.

    Raises:
        DataError: Names what differs, and the command that makes the right features.
    """
    differences = _differences(trained, present) if trained else []
    if differences and not allow:
        title = f"The {modality} features of {what} were not made as the run's were:"
        raise DataError(
            "\n  ".join([title, *differences]),
            hint=f"{_remedy(modality, trained)}\nOr take these as they are with --allow-feature-drift.",
        )
    notes = [f"{modality}: {text}" for text in differences]
    return notes + [f"{modality}: {text}" for text in _library_differences(trained, present)]


def _differences(trained: Recipe, present: Recipe) -> list[str]:
    """One line for each setting that decides the numbers and is not the same."""
    pairs = [(key, trained[key], present.get(key)) for key in _COMPARED if key in trained]
    if trained.get("extractor") == present.get("extractor"):
        before, now = _settings(trained), _settings(present)
        pairs += [(key, before.get(key), now.get(key)) for key in sorted(before.keys() | now.keys())]
    unequal = [(key, _shown(mine), _shown(its)) for key, its, mine in pairs if its != mine]
    return list(dict.fromkeys(f"{key}: {mine} here, {its} in the run" for key, mine, its in unequal))


def _settings(recipe: Recipe) -> dict[str, Any]:
    ignored = {_LIBRARIES, *(() if _LIBRARIES in recipe.get("parameters", {}) else (_ORIGIN,))}
    return {key: value for key, value in recipe.get("parameters", {}).items() if key not in ignored}


def _library_differences(trained: Recipe, present: Recipe) -> list[str]:
    before, now = (recipe.get("parameters", {}).get(_LIBRARIES) or {} for recipe in (trained, present))
    return [
        f"made with {name} {now[name]}, the run's with {before[name]}"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name]
    ]


def _shown(value: Any) -> str:
    """A value for a line: hashes shortened, nothing as a dash."""
    if isinstance(value, list | tuple):
        return ", ".join(str(each)[:_SHOWN_DIGITS] for each in value) or "-"
    return "-" if value is None else str(value)


def _remedy(modality: str, trained: Recipe) -> str:
    """The command that makes the run's features, where an extractor made them."""
    if _LIBRARIES not in trained.get("parameters", {}):
        return "Use the features the run was trained on."
    name = str(trained["extractor"]).partition("@")[0]
    option = f"--{modality} {name}" if modality in ("audio", "vision") else f"--modality {modality}={name}"
    settings = " ".join(
        f"--set {modality}.{key}={value}" for key, value in _settings(trained).items() if value is not None
    )
    return f"Make the right ones with: msakit extract MANIFEST --store STORE {option} {settings}".rstrip()
