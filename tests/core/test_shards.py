"""Shares of work."""

from __future__ import annotations

import pytest

from msakit.core.errors import InputError
from msakit.core.shards import Shard


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_every_item_is_in_one_share(count):
    shares = [Shard.parse(f"{index}/{count}").take(range(10)) for index in range(1, count + 1)]
    assert sorted(item for share in shares for item in share) == list(range(10))


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2/3", "1/99999999999"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InputError, match="is no shard"):
        Shard.parse(text)
