"""A metric over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric over seeds: its mean, its sample standard deviation (None for one seed), each value."""

    mean: float
    sd: float | None
    values: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float]) -> Estimate:
        """Of these values; an undefined one (NaN) makes mean and deviation undefined."""
        numbers = tuple(float(value) for value in values)
        if any(map(math.isnan, numbers)):
            return cls(math.nan, math.nan if len(numbers) > 1 else None, numbers)
        sd = statistics.stdev(numbers) if len(numbers) > 1 else None
        return cls(statistics.fmean(numbers), sd, numbers)
