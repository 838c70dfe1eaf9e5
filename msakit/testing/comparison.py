"""Comparing tensors with a message one can act on, and reading goldens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor


def assert_close(name: str, actual: Tensor, expected: Tensor, *, tolerance: float) -> None:
    """Every element within the tolerance (absolute), in float64.

    Raises:
        AssertionError: Names the tensor, the worst element and both values.
    """
    assert actual.shape == expected.shape, (
        f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    )
    actual, expected = actual.detach().double(), expected.detach().double()
    wrong = ~((actual - expected).abs() <= tolerance)
    if not wrong.any():
        return
    distance = (actual - expected).abs().nan_to_num(nan=torch.inf)
    worst = tuple(int(axis) for axis in np.unravel_index(int(distance.argmax()), tuple(distance.shape)))
    msg = (
        f"{name}: {int(wrong.sum())} of {wrong.numel()} elements differ by more than {tolerance:g}; "
        f"worst at {worst}: {actual[worst].item():.8g}, expected {expected[worst].item():.8g}"
    )
    raise AssertionError(msg)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).norm() / expected.norm().clamp(min=1e-12))


def read_golden(path: Path) -> dict[str, dict[str, Tensor]]:
    """A golden .npz whose keys are `in.*`, `param.*`, `out.*`, grouped by that first part.

    Nothing is unpickled.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = torch.from_numpy(arrays[key])
    return groups


def assert_matches_golden(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, tolerance: float = 1e-5
) -> None:
    """The same names, and every tensor in full within the tolerance."""
    assert actual.keys() == expected.keys(), f"{sorted(actual)} against {sorted(expected)}"
    for name, tensor in expected.items():
        assert_close(name, actual[name], tensor, tolerance=tolerance)
