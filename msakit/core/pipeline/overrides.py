"""Contents of pipeline files, merged and overridden before they are validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msakit.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def override(content: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The content with dotted keys set; a bare component name on the way becomes a mapping.

    Raises:
        ConfigError: A key leads through something that is not a mapping.
    """
    result = merge({}, content)
    for key, value in overrides:
        *parents, last = key.split(".")
        node = result
        for parent in parents:
            child = node.setdefault(parent, {})
            if isinstance(child, str):
                child = node[parent] = {"name": child}
            if not isinstance(child, dict):
                raise ConfigError("--set", [(key, f"'{parent}' is not a mapping")])
            node = child
        node[last] = value
    return result


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings merged, `top` winning; a component named anew drops the other's settings."""
    result = {key: merge({}, value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in top.items():
        below = result.get(key)
        renamed = isinstance(value, dict) and "name" in value and value["name"] != _name(below)
        if isinstance(value, dict) and not renamed:
            result[key] = merge({"name": below} if isinstance(below, str) else below or {}, value)
        elif isinstance(value, str) and value == _name(below):
            continue
        else:
            result[key] = merge({}, value) if isinstance(value, dict) else value
    return result


def _name(choice: Any) -> Any:
    return choice.get("name") if isinstance(choice, dict) else choice
