"""The scale of scores each family of metrics is defined for."""

from __future__ import annotations

from msakit.core.errors import DataError

LABEL_RANGES = {"mosei": (-3.0, 3.0), "sims": (-1.0, 1.0)}


def check_label_range(family: str, label_range: tuple[float, float]) -> None:
    """Refuse scores on another scale than the one the family's classes are made for.

    Raises:
        DataError: The range is another one.
    """
    expected = LABEL_RANGES.get(family)
    if expected is not None and tuple(label_range) != expected:
        message = f"The metrics '{family}' are defined for scores in {expected}, not {tuple(label_range)}."
        raise DataError(message, hint="Rescale the labels, or choose the family made for that range.")
