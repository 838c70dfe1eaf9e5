"""Canonical JSON: one byte string per value, so that a hash of it is an identity."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from msakit.feature_store.errors import StoreError


def canonical_json(value: object) -> bytes:
    """Return `value` as canonical JSON: UTF-8 NFC, sorted keys, no spaces, floats by `repr`.

    Raises:
        StoreError: for NaN, infinities, keys that are not strings and types JSON does not have.
            A value without a canonical form must never get a random or lossy key.
    """
    try:
        plain = _plain(value, "$")
        text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (ValueError, RecursionError) as error:  # half a character, a number of thousands of digits
        raise StoreError(
            f"a value has no canonical form: {error}", "Use Unicode text, and flatter or smaller values."
        ) from error


def _plain(value: object, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StoreError(
                f"{path} is {value!r}, which has no canonical form", "Use a finite number or null."
            )
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _plain_mapping(value, path)
    raise StoreError(
        f"{path} is a {type(value).__name__}, which has no canonical form",
        "Use null, booleans, integers, floats, strings, lists and mappings only.",
    )


def _plain_mapping(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise StoreError(f"{path} has the key {key!r}, which is not a string", "Use string keys.")
        name = unicodedata.normalize("NFC", key)
        if name in plain:
            raise StoreError(f"{path} has two keys that normalise to {name!r}", "Rename one of them.")
        plain[name] = _plain(item, f"{path}.{name}")
    return plain
