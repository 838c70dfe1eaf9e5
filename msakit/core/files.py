"""Text files in and out, wherever they come from: bounded YAML and JSON, messages that name the file."""

from __future__ import annotations

import json
import math
import os
import reprlib
import stat
from typing import TYPE_CHECKING, Any

import yaml

from msakit.core.errors import ConfigError, InputError
from msakit.core.yaml_text import YamlProblem, parse_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError

MAX_BYTES = 1 << 24
# Of a value in a message: what it begins with, never all of it.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60


def read_text(path: Path, *, limit: int = MAX_BYTES) -> str:
    """The text of a regular file in UTF-8; pipes and devices, which may never end, are refused.

    Raises:
        InputError: It is no regular file, is larger than `limit` bytes, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - what was opened is what is checked
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(f"{path} is not a regular file.", hint="Give a file.")
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    if len(content) > limit:
        raise InputError(f"{path} is larger than {limit:,} bytes.", hint="Is it the right file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.") from error


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        msg = "it is nested too deeply"
        raise ValueError(msg) from error


def read_json(path: Path, *, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: It cannot be read, is not JSON, or holds something else.
    """
    try:
        content = parse_json(read_text(path, limit=limit))
    except ValueError as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold a JSON object, not a {type(content).__name__}.")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty mapping.

    Raises:
        InputError: The file cannot be read.
        ConfigError: It is not YAML, or not a mapping.
    """
    try:
        content = parse_yaml(read_text(path))
    except YamlProblem as error:
        raise ConfigError(str(path), [("", str(error))]) from error
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
        value = parse_yaml(text)
    except YamlProblem as error:
        raise ConfigError("--set", [(text, str(error))]) from error
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
        given = "" if detail["type"] == "missing" else f" (given: {_SHORT.repr(detail['input'])})"
        message = "unknown key" if detail["type"] == "extra_forbidden" else detail["msg"]
        problems.append((key, f"{message}{given}"))
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
