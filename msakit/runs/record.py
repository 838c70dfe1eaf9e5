"""metrics.json: the results of a run or of a further evaluation, as one typed, versioned record.

Written by `runs.folder.Run.write_record`, read by `read_record`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from msakit.core.errors import ConfigError
from msakit.core.files import problems_of, read_json
from msakit.core.interfaces import Diagnostic

if TYPE_CHECKING:
    from pathlib import Path

RECORD_FILE = "metrics.json"
RECORD_VERSION = 2

Metrics = dict[str, float | None]
"""Metric name to value; None where it is undefined."""


class _Part(BaseModel):
    """Frozen; keys it does not know are left unread, so that a record may gain fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Timing(_Part):
    """How long training took; None where nothing was trained."""

    train_s: float | None = None
    samples_per_s: float | None = None


class Outcome(_Part):
    """How training ended; the first epoch is 1, and 0 is none."""

    best_epoch: int
    epochs: int
    stopped: str


class Parameters(_Part):
    """How many parameters were trained, of how many."""

    trainable: int
    total: int


class Truncation(_Part):
    """How many of the distinct utterances were cut to fit the prompt's limit of text tokens."""

    texts: int
    cut: int
    limit: int | None

    @property
    def share(self) -> float:
        """Share of the utterances that were cut."""
        return self.cut / max(1, self.texts)


class Condition(_Part):
    """In what an evaluation differs from the run's own: decoding, store, dataset, modalities taken away."""

    decode: Literal["score", "generate"] | None = None
    store: str | None = None
    dataset: str | None = None
    without: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """In words: "without audio (absent), store other.h5"; empty for the run's own conditions."""
        parts = [f"without {name}" for name in self.without]
        parts += [f"decode {self.decode}"] if self.decode else []
        parts += [f"store {self.store}"] if self.store else []
        parts += [f"dataset {self.dataset}"] if self.dataset else []
        return ", ".join(parts)


class RunRecord(_Part):
    """Everything about a run that tables, reports and trackers show.

    Attributes:
        version: Of this format.
        dataset: What it was trained and evaluated on.
        family: The dataset's metric family.
        label_names: Class names in index order (classification).
        label_range: Lowest and highest score (regression).
        condition: None for the run's own result.
        splits: Split to metrics.
        samples_per_s: Split to the speed of its evaluation.
        baselines: Split to constant answer ("mean", "majority") to metrics.
        diagnostics: How to read the fuser's diagnostics among the predictions.
        digests: File of the run to its SHA-256.
    """

    version: int = RECORD_VERSION
    dataset: str
    family: str
    task: Literal["regression", "classification"] | None = None
    seed: int | None = None
    label_names: tuple[str, ...] = ()
    label_range: tuple[float, float] | None = None
    condition: Condition | None = None
    splits: dict[str, Metrics] = Field(default_factory=dict)
    samples_per_s: dict[str, float] = Field(default_factory=dict)
    baselines: dict[str, dict[str, Metrics]] = Field(default_factory=dict)
    parameters: Parameters | None = None
    training: Outcome | None = None
    timing: Timing | None = None
    truncation: Truncation | None = None
    diagnostics: dict[str, Diagnostic] = Field(default_factory=dict)
    digests: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _known_version(cls, content: Any) -> Any:
        """Bring an older record to this version: the first counted epochs from 0."""
        if not isinstance(content, dict) or content.get("version", RECORD_VERSION) == RECORD_VERSION:
            return content
        if content["version"] != 1:
            msg = f"this msakit reads records up to version {RECORD_VERSION}; install a newer one"
            raise ValueError(msg)
        training = content.get("training")
        if isinstance(training, dict) and isinstance(training.get("best_epoch"), int):
            training = training | {"best_epoch": training["best_epoch"] + 1}
        return content | {"version": RECORD_VERSION, "training": training}

    def defined(self, split: str) -> dict[str, float]:
        """The metrics of a split as numbers; NaN where undefined."""
        return as_numbers(self.splits.get(split, {}))


def read_record(path: Path) -> RunRecord:
    """Read a metrics.json.

    Raises:
        InputError: It is not JSON.
        ConfigError: It is JSON, but no record; every problem is listed.
    """
    try:
        return RunRecord.model_validate(read_json(path))
    except ValidationError as error:
        hint = "Evaluate the run again, or restore the file."
        raise ConfigError(str(path), problems_of(error), hint=hint) from error


def as_numbers(metrics: Metrics) -> dict[str, float]:
    """Metrics with NaN for what is undefined."""
    return {name: float("nan") if value is None else value for name, value in metrics.items()}
