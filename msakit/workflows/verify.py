"""Does what a run claims still hold? Predictions scored again, files and data compared with the record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MsakitError
from msakit.core.files import read_yaml
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.feature_store.errors import StoreError
from msakit.runs.provenance import file_digest, package_versions
from msakit.runs.results import RunResult, find_runs, read_run
from msakit.samples.samples import Samples
from msakit.workflows.evaluate import constant_answers
from msakit.workflows.identity import identify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msakit.core.registry.registry import Registry

TOLERANCE = 1e-6
"""Predictions are stored with ten digits, so figures made from them agree to more than this."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing compared with what was recorded.

    Attributes:
        what: "test mae", "adapter/step-6/adapter.safetensors", "version of torch".
        recorded: What the run says.
        found: What there is now.
        holds: Whether they agree; None where it could not be compared.
    """

    what: str
    recorded: Any
    found: Any
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything compared of one run."""

    run: Path
    checks: tuple[Check, ...]

    @property
    def differences(self) -> list[Check]:
        """The checks that differ."""
        return [check for check in self.checks if check.holds is False]

    @property
    def unchecked(self) -> list[Check]:
        """The checks that could not be made, the reason in `found`."""
        return [check for check in self.checks if check.holds is None]


def verify(
    path: Path, registry: Registry, *, store: Path | None = None, with_versions: bool = True
) -> list[Verification]:
    """Verify a run, a folder of seeds, or every run of a study.

    Args:
        path: The folder.
        registry: Where the names in pipelines are looked up.
        store: Where the samples are now, if not where the runs say.
        with_versions: Whether another version of Python or of a package is a difference.

    Raises:
        InputError: There is no finished run in the folder.
    """
    folders = find_runs(path)
    if not folders:
        raise InputError(f"{path} holds no finished run.", hint="Give a run, or the folder of a study.")
    return [
        Verification(folder, tuple(_checks(read_run(folder), registry, store, with_versions=with_versions)))
        for folder in folders
    ]


def _checks(
    run: RunResult, registry: Registry, store: Path | None, *, with_versions: bool
) -> Iterator[Check]:
    for result in (run, *run.evaluations):
        yield from _figures(result)
        yield from _files(result, run.path)
    yield from _data(run, registry, store)
    if with_versions:
        recorded = run.provenance.get("versions", {})
        yield from _compared("version of ", recorded, package_versions())


def _figures(result: RunResult) -> Iterator[Check]:
    """Every recorded metric against the one made anew from the stored predictions."""
    condition = result.record.condition
    prefix = f"{condition.title}: " if condition else ""
    for split in result.record.splits:
        if _is_shared_without(result, split):
            remedy = f"`msakit evaluate {result.path} --split {split} --store STORE` makes them anew"
            told = f"not scored: a shared run carries none; {remedy}"
            yield Check(f"{prefix}{split} predictions", "not shared", told, holds=None)
            continue
        try:
            found = result.metrics(split)
        except MsakitError as error:
            yield Check(f"{prefix}{split} predictions", "there", error.message, holds=False)
            continue
        for name, value in result.record.defined(split).items():
            now = found.get(name, math.nan)
            same = math.isclose(value, now, abs_tol=TOLERANCE) or (math.isnan(value) and math.isnan(now))
            yield Check(f"{prefix}{split} {name}", value, now, holds=same)


def _is_shared_without(result: RunResult, split: str) -> bool:
    """Whether a run was shared without its predictions: they are not there, and the record names none."""
    return split not in result.splits and f"predictions.{split}.csv" not in result.record.digests


def _files(result: RunResult, run: Path) -> Iterator[Check]:
    """Every file with a recorded digest; predictions lie with their result, the adapter in the run."""
    for name, recorded in result.record.digests.items():
        file = (result.path if name.startswith("predictions.") else run) / name
        found = file_digest(file) if file.is_file() else "missing"
        shown = f"{result.path.name}/{name}" if result.record.condition else name
        yield Check(shown, recorded, found, holds=recorded == found)


def _data(run: RunResult, registry: Registry, store: Path | None) -> Iterator[Check]:
    """Samples, feature recipes and constant answers against the store's."""
    recorded = run.provenance.get("data", {})
    if store is None and "store" not in recorded:
        told = "not compared: the run names no store; give it with --store"
        yield Check("data", None, told, holds=None)
        return
    place = store or Path(str(recorded["store"]))
    try:
        source = str(run.path / "pipeline.yaml")
        resolved = resolve(parse_pipeline(read_yaml(Path(source)), source), registry, source=source)
        samples = Samples.open(place, resolved)
    except (MsakitError, StoreError) as error:
        yield Check("data", str(place), f"not compared: {error.message}", holds=None)
        return
    now = identify(place, samples)
    kept = {name: value for name, value in recorded.items() if name != "store"}
    yield from _compared("data: ", kept, now)
    for modality, described in run.features.items():
        made = samples.feature_descriptions.get(modality, {})
        yield from _compared(f"features of {modality}: ", described, made)
    for split, baselines in run.record.baselines.items():
        constants = constant_answers(samples, split, resolved).get(split, {})
        for name in baselines:
            values = run.baselines(split)[name]
            same = all(
                math.isclose(value, constants.get(name, {}).get(key, math.nan), abs_tol=TOLERANCE)
                for key, value in values.items()
                if not math.isnan(value)
            )
            yield Check(f"{split} {name} baseline", values, constants.get(name), holds=same)


def _compared(prefix: str, recorded: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[Check]:
    for name, value in recorded.items():
        now = found.get(name)
        yield Check(f"{prefix}{name}", value, now, holds=value == now)
