"""JSON as everything here writes it: readable, and valid, which NaN is not."""

from __future__ import annotations

import json
import math
from typing import Any


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
