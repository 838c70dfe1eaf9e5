"""`--set key=value` and the like, as several commands take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.core.errors import InputError
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
    """The values of `--set` as pairs, read as YAML.

    Raises:
        InputError: One is not of the form KEY=VALUE.
    """
    pairs = parse_pairs("--set", assignments, example="training.epochs=5")
    return [(key, parse_value(value)) for key, value in pairs]


def parse_pairs(option: str, values: Iterable[str] | None, *, example: str) -> list[tuple[str, str]]:
    """Values of a repeatable option, each of the form KEY=VALUE, as pairs.

    Raises:
        InputError: One is not of that form.
    """
    pairs = []
    for given in values or ():
        key, equals, value = given.partition("=")
        if not (equals and key.strip()):
            raise InputError(f"{option} {given}: KEY=VALUE is expected.", hint=f"Such as {option} {example}")
        pairs.append((key.strip(), value))
    return pairs
