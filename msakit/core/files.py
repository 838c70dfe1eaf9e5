"""Text files in and out: YAML with messages that name the file and the line, JSON that is valid."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import yaml

from msakit.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError

# The C loader is several times faster; reading the shipped registry is part of every start-up.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty mapping.

    Raises:
        InputError: The file cannot be read.
        ConfigError: It is not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise InputError(msg) from error
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [("", f"not YAML: {error}")]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(str(path), [("", f"a mapping is expected, not a {type(content).__name__}")])
    return content


def parse_value(text: str) -> Any:
    """The value a `--set key=value` means, read as YAML ("5e-4" too, which YAML 1.1 calls a string).

    Raises:
        ConfigError: The text is not YAML.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError("--set", [(text, f"not YAML: {error}")]) from error
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def dump_yaml(content: dict[str, Any]) -> str:
    """YAML in the order given, readable, with Chinese as it is."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def problems_of(error: ValidationError) -> list[tuple[str, str]]:
    """A pydantic error as (dotted key, what is wrong) pairs."""
    problems = []
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in detail["loc"])
        given = "" if detail["type"] == "missing" else f" (given: {detail['input']!r})"
        message = "unknown key" if detail["type"] == "extra_forbidden" else detail["msg"]
        problems.append((key, f"{message}{given if len(given) < 200 else ''}"))
    return problems


def to_json(content: Any, *, indent: int | None = 2) -> str:
    """JSON text of a value; undefined numbers (NaN, infinity) become null."""
    return json.dumps(_defined(content), indent=indent, ensure_ascii=False, allow_nan=False)


def _defined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
