"""A share of work: what one machine of several does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """The I-th of N shares; the first is 1, and 1 of 1 is everything."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "I/N".

        Raises:
            InputError: It is something else, or there is no I-th of N.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.index <= shard.count:
            raise InputError(f"'{text}' is no shard.", hint="Write I/N: 1/4, 2/4, 3/4 and 4/4 are all of it.")
        return shard

    def take(self, items: Sequence[Item]) -> list[Item]:
        """Every N-th item; the shares of all shards are all items, each once."""
        return list(items[self.index - 1 :: self.count])
