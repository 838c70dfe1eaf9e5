"""From a manifest of clips to features in a store: resumable, in one process or several.

Features are stored under content addresses, so what is stored already is never computed again, whoever
computed it and however the last run ended. Workers compute; the calling process alone writes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import InputError
from msakit.extraction.contents import clip_key, remembered_digests
from msakit.extraction.pool import Computed, Factory, Task, compute
from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, StoreError
from msakit.feature_store.writer import WriterOptions

if TYPE_CHECKING:
    from msakit.core.interfaces import Extractor
    from msakit.extraction.manifest import ManifestRow
    from msakit.feature_store import FeatureWriter
    from msakit.feature_store.writer import NanPolicy

_REUSED = Computed()


@dataclass(frozen=True)
class ClipProblem:
    """A clip, a modality of it ("" for the whole clip), and what is the matter."""

    clip_id: str
    modality: str
    reason: str


@dataclass
class ExtractionReport:
    """The outcome of an extraction.

    Attributes:
        clips: Clips in the manifest.
        extracted: Modality to clips computed now.
        reused: Modality to clips whose features were there already.
        absent: Clips without the stream a modality needs; samples that lack the modality.
        failed: Clips that could not be extracted; left out of the table.
        nonfinite: Clips with NaN or infinite values, kept or zeroed as asked.
        version: Version of the table that was written; None when none was.
    """

    clips: int
    extracted: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    absent: list[ClipProblem] = field(default_factory=list)
    failed: list[ClipProblem] = field(default_factory=list)
    nonfinite: list[ClipProblem] = field(default_factory=list)
    version: int | None = None

    def add_failures(self, reasons: Mapping[str, str]) -> None:
        """Count clips that did not get as far as extraction, with the reason of each."""
        self.clips += len(reasons)
        self.failed += [ClipProblem(clip_id, "", reason) for clip_id, reason in reasons.items()]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        return asdict(self)


def feature_set_of(extractor: Extractor, dtype: str = "float32") -> FeatureSet:
    """The feature set an extractor fills: its identity in a store."""
    import av

    return FeatureSet(
        modality=extractor.modality,
        extractor=f"{extractor.name}@{extractor.version}",
        width=extractor.width,
        dtype=dtype,
        frame_shift_s=extractor.frame_shift_s,
        parameters=extractor.parameters(),
        weights=tuple(extractor.weights()),
        decoder={"name": "pyav", "version": av.__version__},
    )


def extractor_choice(extractor: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and settings of the extractor that filled a feature set, to build it again for new media.

    Args:
        extractor: The feature set's `extractor`, "name@version".
        parameters: The feature set's `parameters`.
    """
    settings = {name: value for name, value in parameters.items() if name != "libraries"}
    return extractor.partition("@")[0], settings


class Extraction:
    """Extracts the clips of manifests into a store.

    Args:
        factories: Modality to what makes its extractor; picklable, as every worker makes its own.
        dtype: Storage type of the features.
        nonfinite: What NaN and infinities get: "error" fails the clip.
        writing: Where journals go and how they are locked; the rest of it is set here.
        workers: Processes that compute; 1 computes in this one.

    Raises:
        InputError: An extractor stands under a modality that is not its own.
    """

    def __init__(
        self,
        factories: Mapping[str, Factory],
        *,
        dtype: str = "float32",
        nonfinite: NanPolicy = "error",
        writing: WriterOptions | None = None,
        workers: int = 1,
    ) -> None:
        self._factories = dict(factories)
        self._extractors = {modality: make() for modality, make in self._factories.items()}
        for modality, extractor in self._extractors.items():
            if extractor.modality != modality:
                msg = f"The extractor '{extractor.name}' is for {extractor.modality}, not for {modality}."
                raise InputError(msg, hint="List extractors with: msakit components list extractor")
        self.feature_sets = {m: feature_set_of(e, dtype) for m, e in self._extractors.items()}
        self._nonfinite = nonfinite
        self._writing = writing or WriterOptions()
        self._workers = workers

    def count_stored(self, rows: Sequence[ManifestRow], store: FeatureStore | None) -> ExtractionReport:
        """Report what `run` would do, without computing or writing anything."""
        report = ExtractionReport(len(rows))
        digests = _digests(rows, report)
        for modality, feature_set in self.feature_sets.items():
            keys = [clip_key(row.clip, digests[row.id]) for row in rows if row.id in digests]
            known = store is not None and feature_set.fingerprint in store.feature_sets()
            stored = (
                {bytes(key) for key in store.index(feature_set.fingerprint).keys}
                if store and known
                else set()
            )
            report.reused[modality] = sum(key in stored for key in keys)
            report.extracted[modality] = len(keys) - report.reused[modality]
        return report

    def run(
        self,
        rows: Sequence[ManifestRow],
        store: FeatureStore,
        dataset: str | None,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> ExtractionReport:
        """Extract what is missing, then write the dataset's table.

        A clip that fails is reported and left out of the table; the others are kept. Interrupting loses
        nothing that was computed: the next run finds it in the store.

        Args:
            rows: The manifest.
            store: Where features and the table go.
            dataset: The table's name; an existing table gets a new version. None writes no table.
            on_progress: Called with a clip's id for each modality that is done with.

        Raises:
            MsakitError: A worker process died.
            StoreError: The store cannot be written.
        """
        report = ExtractionReport(len(rows))
        digests = _digests(rows, report)
        notify = on_progress or (lambda _: None)
        tasks = [
            Task(row.clip, modality, clip_key(row.clip, digests[row.id]))
            for row in rows
            for modality in self.feature_sets
            if row.id in digests
        ]
        with ExitStack() as stack:
            writers = {m: stack.enter_context(self._writer(store, f)) for m, f in self.feature_sets.items()}
            outcomes = self._fill(tasks, writers, report, notify)
        features: dict[str, dict[str, bytes]] = {row.id: {} for row in rows}
        for task in tasks:
            outcome = outcomes[task.modality, task.key]
            if not outcome.reason:
                features[task.clip.clip_id][task.modality] = task.key
            else:
                problem = ClipProblem(task.clip.clip_id, task.modality, outcome.reason)
                (report.absent if outcome.absent else report.failed).append(problem)
        if dataset is not None:
            self._write_table(rows, store, dataset, features, report, digests)
        return report

    def _writer(self, store: FeatureStore, feature_set: FeatureSet) -> FeatureWriter:
        provenance = {"python": platform.python_version(), "machine": platform.machine()}
        options = replace(self._writing, nan_policy=self._nonfinite, provenance=provenance)
        return store.writer(feature_set, options)

    def _fill(
        self,
        tasks: Sequence[Task],
        writers: Mapping[str, FeatureWriter],
        report: ExtractionReport,
        notify: Callable[[str], None],
    ) -> dict[tuple[str, bytes], Computed]:
        """Store what is missing; the outcome of every (modality, key), without its values."""
        outcomes: dict[tuple[str, bytes], Computed] = {}
        missing: list[Task] = []
        report.extracted = dict.fromkeys(writers, 0)
        for task in tasks:
            address = (task.modality, task.key)
            if address in outcomes or task.key in writers[task.modality]:
                notify(task.clip.clip_id)
            else:
                missing.append(task)
            outcomes[address] = _REUSED
        for task, computed in compute(missing, self._extractors, self._factories, self._workers):
            outcomes[task.modality, task.key] = self._store(task, computed, writers[task.modality], report)
            notify(task.clip.clip_id)
        asked = {modality: sum(task.modality == modality for task in tasks) for modality in writers}
        missed = {modality: sum(task.modality == modality for task in missing) for modality in writers}
        report.reused = {modality: asked[modality] - missed[modality] for modality in writers}
        return outcomes

    def _store(
        self, task: Task, computed: Computed, writer: FeatureWriter, report: ExtractionReport
    ) -> Computed:
        """Put computed values; what remains is whether and why there are none."""
        values = computed.values
        if values is None:
            return computed
        num_bad = int(np.size(values) - np.isfinite(values).sum())
        if num_bad and self._nonfinite == "error":
            return Computed(reason=f"{num_bad} NaN or infinite values")
        writer.put(task.key, values)
        report.extracted[task.modality] += 1
        if num_bad:
            done = "kept" if self._nonfinite == "keep" else "set to zero"
            reason = f"{num_bad} NaN or infinite values, {done}"
            report.nonfinite.append(ClipProblem(task.clip.clip_id, task.modality, reason))
        return _REUSED

    def _write_table(
        self,
        rows: Iterable[ManifestRow],
        store: FeatureStore,
        dataset: str,
        features: Mapping[str, Mapping[str, bytes]],
        report: ExtractionReport,
        digests: Mapping[str, bytes],
    ) -> None:
        failed = {problem.clip_id for problem in report.failed}
        samples = [
            Sample.of(row, content=digests[row.id].hex(), features=features[row.id])
            for row in rows
            if row.id not in failed
        ]
        if samples:
            fingerprints = {m: f.fingerprint for m, f in self.feature_sets.items()}
            table = SampleTable.from_samples(samples, fingerprints, {"made by": "msakit extract"})
            report.version = store.write_table(dataset, table).version


def _digests(rows: Iterable[ManifestRow], report: ExtractionReport) -> dict[str, bytes]:
    """Clip to content digest; a file is read once however many clips are cut from it."""
    by_path: dict[str, bytes] = {}
    digests: dict[str, bytes] = {}
    with remembered_digests() as digest:
        for row in rows:
            path = row.path
            try:
                digests[row.id] = by_path[str(path)] = by_path.get(str(path)) or digest(path)
            except StoreError as error:
                report.failed.append(ClipProblem(row.id, "", error.message))
    return digests
