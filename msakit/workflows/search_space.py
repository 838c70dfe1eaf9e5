"""What a search may choose from: the `search` key of a study file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from msakit.core.files import to_json
from msakit.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.distributions import BaseDistribution


class Range(Settings):
    """Numbers from `low` to `high`, both included: whole numbers where both ends are."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="choose evenly by order of magnitude")

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Range:
        if not self.low < self.high:
            msg = "low has to be below high"
            raise ValueError(msg)
        if self.log and self.low <= 0:
            msg = "log needs a low above 0"
            raise ValueError(msg)
        return self


class SearchConfig(Settings):
    """Settings to be chosen by the validation metric."""

    ranges: dict[str, Range | list[Any]] = Field(
        min_length=1, description="dotted key to {low, high, log}, or to a list of values"
    )
    trials: int = Field(20, gt=0, description="settings to try, those of all workers together")
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tpe: tree-structured Parzen estimator, which learns from the trials before"
    )
    seed: int = Field(1111, ge=0, lt=2**32, description="of the sampler")

    @field_validator("ranges", mode="before")
    @classmethod
    def _range_or_values(cls, ranges: Any) -> Any:
        """Read each entry as what it is meant to be, so that a mistake is reported once."""
        if not isinstance(ranges, dict):
            return ranges
        return {
            key: entry if isinstance(entry, list) else Range.model_validate(entry)
            for key, entry in ranges.items()
        }

    @field_validator("ranges")
    @classmethod
    def _values_differ(cls, ranges: dict[str, Range | list[Any]]) -> dict[str, Range | list[Any]]:
        for key, entry in ranges.items():
            if isinstance(entry, list) and (len(entry) < 2 or len(set(map(label, entry))) < len(entry)):
                msg = f"{key}: a list needs two values at least, all different"
                raise ValueError(msg)
        return ranges

    def distributions(self) -> dict[str, BaseDistribution]:
        """The ranges as Optuna has them."""
        return {key: _distribution(entry) for key, entry in self.ranges.items()}

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The settings under dotted keys that Optuna's parameters stand for, in the order of the file."""
        return {key: _value(entry, chosen[key]) for key, entry in self.ranges.items()}

    def extremes(self) -> list[dict[str, Any]]:
        """Settings in which each end of a range and each listed value occurs, the others at their first."""
        ends = {
            key: entry if isinstance(entry, list) else [entry.low, entry.high]
            for key, entry in self.ranges.items()
        }
        first = {key: values[0] for key, values in ends.items()}
        return [first, *({**first, key: value} for key, values in ends.items() for value in values[1:])]


def label(value: Any) -> str:
    """A listed value as Optuna's storage has it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else to_json(value, indent=None)


def _distribution(entry: Range | list[Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(entry, list):
        return CategoricalDistribution([label(value) for value in entry])
    if isinstance(entry.low, int) and isinstance(entry.high, int):
        return IntDistribution(entry.low, entry.high, log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


def _value(entry: Range | list[Any], chosen: Any) -> Any:
    return next(value for value in entry if label(value) == chosen) if isinstance(entry, list) else chosen
