"""A short version of `make attack`: nothing gets through."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.attack.__main__ import families
from benchmarks.attack.tally import Family


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_no_attack_gets_through(family: Family, tmp_path: Path) -> None:
    tally = family.run(tmp_path, family.short, 0)
    assert tally.tried > 0
    assert tally.notes == []
    assert tally.clean
