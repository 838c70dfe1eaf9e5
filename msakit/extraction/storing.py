"""Putting computed features into a store, by whichever process computed them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from msakit.feature_store import FeatureStore
from msakit.feature_store.writer import WriterOptions

if TYPE_CHECKING:
    from pathlib import Path

    from msakit.extraction.pool import Computed, Task
    from msakit.feature_store import FeatureSet, FeatureWriter


@dataclass(frozen=True)
class Outcome:
    """What became of a task: stored, or the reason why not.

    Attributes:
        reason: Why there are no features; "" where they are stored.
        absent: Whether the clip lacks the stream, rather than being damaged.
        nonfinite: What was done about NaN and infinite values; "" where there were none.
    """

    reason: str = ""
    absent: bool = False
    nonfinite: str = ""


@dataclass(frozen=True)
class Destination:
    """Where features go, for any process to open: a store, and what fills which feature set.

    Attributes:
        store: The store's folder.
        feature_sets: Modality to feature set.
        options: Of every writer; the provenance is set by the process that writes.
    """

    store: Path
    feature_sets: Mapping[str, FeatureSet]
    options: WriterOptions = field(default_factory=WriterOptions)

    def open(self) -> Storing:
        """Writers of one process, each with a journal of its own."""
        return Storing(self)


class Storing:
    """The writers of one process; closing it seals what they wrote.

    Args:
        destination: What they write to.
    """

    def __init__(self, destination: Destination) -> None:
        self._nan_policy = destination.options.nan_policy
        provenance = {"python": platform.python_version(), "machine": platform.machine()}
        options = replace(destination.options, provenance=provenance)
        store = FeatureStore.open(destination.store)
        with ExitStack() as stack:
            self._writers: dict[str, FeatureWriter] = {
                modality: stack.enter_context(store.writer(feature_set, options))
                for modality, feature_set in destination.feature_sets.items()
            }
            self._stack = stack.pop_all()

    def __enter__(self) -> Storing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every writer."""
        self._stack.close()

    def __contains__(self, task: Task) -> bool:
        """Whether a task's features were stored when this was opened, or by it."""
        return task.key in self._writers[task.modality]

    def put(self, task: Task, computed: Computed) -> Outcome:
        """Store a task's features; what remains is whether, and why not.

        Raises:
            StoreError: The store cannot be written.
        """
        values = computed.values
        if values is None:
            return Outcome(computed.reason, computed.absent)
        num_bad = int(np.size(values) - np.isfinite(values).sum())
        if num_bad and self._nan_policy == "error":
            return Outcome(f"{num_bad} NaN or infinite values")
        self._writers[task.modality].put(task.key, values)
        if not num_bad:
            return Outcome()
        done = "kept" if self._nan_policy == "keep" else "set to zero"
        return Outcome(nonfinite=f"{num_bad} NaN or infinite values, {done}")
