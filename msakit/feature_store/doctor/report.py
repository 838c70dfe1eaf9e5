"""Expectations given to the data doctor, and its findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
NUM_EXAMPLES = 10
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Expectations:
    """Prior knowledge about a dataset.

    Attributes:
        label_range: lowest and highest rating.
        label_step: ratings are multiples of this above the lowest; 0 when there is no grid.
        language: language tag of the texts; "" leaves it to the table's own column.
    """

    label_range: tuple[float, float] | None = None
    label_step: float = 0.0
    language: str = ""


@dataclass(frozen=True)
class DataProblem:
    """One thing that is wrong or worth knowing.

    Attributes:
        code: stable name, such as "nonfinite".
        severity: "error" spoils results, "warning" may, "info" is to be known.
        where: the column or modality.
        message: what was found.
        remedy: what to do about it.
        count: how many samples (or features) it concerns.
        sample_ids: the first of them.
    """

    code: str
    severity: Severity
    where: str
    message: str
    remedy: str
    count: int = 0
    sample_ids: tuple[str, ...] = ()


@dataclass
class Report:
    """Findings about one dataset, errors first."""

    dataset: str
    num_samples: int
    findings: list[DataProblem] = field(default_factory=list)

    def add(self, findings: Sequence[DataProblem]) -> None:
        """Add findings, keeping errors first and otherwise the order of arrival."""
        self.findings = sorted([*self.findings, *findings], key=lambda finding: _ORDER[finding.severity])

    @property
    def num_errors(self) -> int:
        """Findings that spoil results."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        """Findings that may spoil results."""
        return sum(finding.severity == "warning" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "dataset": self.dataset,
            "samples": self.num_samples,
            "errors": self.num_errors,
            "warnings": self.num_warnings,
            "findings": [asdict(finding) for finding in self.findings],
        }


def examples(ids: Sequence[str]) -> tuple[str, ...]:
    """The first sample ids of a finding."""
    return tuple(ids[:NUM_EXAMPLES])
