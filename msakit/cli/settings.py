"""`--set key=value` and the like, as several commands take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.core.errors import ConfigError
from msakit.core.files import parse_value

if TYPE_CHECKING:
    from collections.abc import Iterable

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set one key, such as training.epochs=5; may be repeated."
    ),
]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard", metavar="I/N", help="Do the I-th of N shares; the others are for other machines."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_overrides(assignments: Iterable[str] | None) -> list[tuple[str, Any]]:
    """KEY=VALUE texts to pairs; values are read as YAML.

    Raises:
        ConfigError: One has no equals sign.
    """
    pairs = []
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigError("--set", [(assignment, "expected KEY=VALUE, such as training.epochs=5")])
        pairs.append((key.strip(), parse_value(value)))
    return pairs
