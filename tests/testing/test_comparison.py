"""Comparison messages and golden files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from msakit.testing.comparison import assert_close, assert_matches_golden, read_golden, relative_error


def test_the_worst_element_is_named() -> None:
    actual, expected = torch.zeros(2, 3), torch.zeros(2, 3)
    actual[0, 1], actual[1, 2] = 0.5, -2.0
    with pytest.raises(AssertionError, match=r"scores: 2 of 6 .* worst at \(1, 2\): -2, expected 0"):
        assert_close("scores", actual, expected, tolerance=0.1)
    assert_close("scores", actual, expected, tolerance=2.0)


@pytest.mark.parametrize("wrong", [torch.tensor([float("nan")]), torch.zeros(2), torch.zeros(1, 1)])
def test_nan_and_shapes_are_not_close(wrong: torch.Tensor) -> None:
    with pytest.raises(AssertionError):
        assert_close("x", wrong, torch.zeros(1), tolerance=1e9)


def test_relative_error() -> None:
    assert relative_error(torch.tensor([3.0, 4.4]), torch.tensor([3.0, 4.0])) == pytest.approx(0.08, rel=1e-5)


def test_goldens_are_grouped_and_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{"in.audio": np.ones(2), "out.fused.tokens": np.zeros(3)})
    golden = read_golden(tmp_path / "golden.npz")
    assert golden.keys() == {"in", "out"}
    assert torch.equal(golden["out"]["fused.tokens"], torch.zeros(3, dtype=torch.float64))
    np.savez(tmp_path / "evil.npz", **{"in.audio": np.array([object()])})
    with pytest.raises(ValueError, match="pickle"):
        read_golden(tmp_path / "evil.npz")


def test_a_missing_output_is_not_a_match() -> None:
    with pytest.raises(AssertionError):
        assert_matches_golden({}, {"tokens": torch.zeros(1)})
