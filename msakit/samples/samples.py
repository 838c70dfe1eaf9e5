"""The samples of a dataset in a feature store, as a pipeline needs them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import DataError
from msakit.core.pipeline.batch import Batch
from msakit.core.pipeline.prompt import Turn
from msakit.core.tensors import Sequence
from msakit.feature_store import FeatureStore
from msakit.feature_store.collate import read_tensors
from msakit.feature_store.reader import prefetched
from msakit.feature_store.table import SPLITS
from msakit.samples.order import in_parts
from msakit.samples.statistics import FrameMoments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Sequence as Seq
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.pipeline.answers import AnswerSet
    from msakit.core.pipeline.config import FeatureConfig
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.specs import DatasetSpec
    from msakit.feature_store import FeatureReader, SampleTable
    from msakit.samples.statistics import Statistics

NAMED_SAMPLES = 5


class Samples:
    """A dataset's table and the readers of its modalities.

    Args:
        table: The sample table.
        readers: Modality to reader, one for each modality the pipeline encodes.
        dataset: Task and labels.
        features: What to do to features.
        context: How many previous utterances of the dialogue a sample brings along.
        with_text: Whether the utterances' texts are used.
    """

    def __init__(
        self,
        table: SampleTable,
        readers: Mapping[str, FeatureReader],
        dataset: DatasetSpec,
        features: FeatureConfig,
        *,
        context: int = 0,
        with_text: bool = True,
    ) -> None:
        self.table = table
        self.dataset = dataset
        self._readers = readers
        self._features = features
        self._context = context
        self._with_text = with_text
        self._row_of = {name: row for row, name in enumerate(table.id)}
        self._moments: dict[str, FrameMoments] = {}

    @classmethod
    def open(cls, store_path: Path, resolved: ResolvedPipeline) -> Samples:
        """Open a store for a pipeline.

        Raises:
            DataError: The store lacks the dataset or a modality the pipeline encodes.
        """
        store = FeatureStore.open(store_path)
        name = resolved.dataset.name
        if name not in store.datasets():
            held = ", ".join(store.datasets()) or "none"
            raise DataError(
                f"{store_path} has no dataset '{name}' (it has: {held}).",
                hint=f"Import it with `msakit store import ... --dataset {name}`, "
                "or set dataset in the pipeline.",
            )
        table = store.table(name)
        if missing := [modality for modality in resolved.encoders if modality not in table.features]:
            held = ", ".join(table.features) or "none"
            raise DataError(
                f"The dataset '{name}' in {store_path} has no features for {', '.join(missing)} "
                f"(it has: {held}).",
                hint="Extract or import them, or take the modality out of the pipeline's encoders.",
            )
        readers = {modality: store.reader(table, modality) for modality in resolved.encoders}
        prompt = resolved.config.prompt
        if prompt.context and not any(table.dialogue):
            raise DataError(
                f"prompt.context is {prompt.context}, but no sample of '{name}' in {store_path} belongs to a "
                "dialogue.",
                hint="Store dialogues (columns dialogue and utterance), or set prompt.context to 0.",
            )
        return cls(
            table,
            readers,
            resolved.dataset,
            resolved.config.features,
            context=prompt.context,
            with_text=prompt.text,
        )

    @property
    def widths(self) -> dict[str, int]:
        """Modality to feature width (D)."""
        return {name: reader.width for name, reader in self._readers.items()}

    @property
    def feature_descriptions(self) -> dict[str, dict[str, Any]]:
        """The recipe of each modality's features, so that a run can extract them again from media."""
        return {
            name: {
                "fingerprint": reader.feature_set.fingerprint,
                "extractor": reader.feature_set.extractor,
                "width": reader.width,
                "frame_shift_s": reader.frame_shift_s,
                "parameters": dict(reader.feature_set.parameters),
                "weights": list(reader.feature_set.weights),
            }
            for name, reader in self._readers.items()
        }

    def check_widths(self, expected: Mapping[str, int]) -> None:
        """Refuse features of another width than a pipeline was trained on.

        Raises:
            DataError: Names the modality and both widths.
        """
        for name, width in self.widths.items():
            if width != expected.get(name, width):
                raise DataError(
                    f"The {name} features of '{self.dataset.name}' are {width} wide, "
                    f"but the pipeline expects {expected[name]}.",
                    hint="Use the features the pipeline was trained on, or train it on these.",
                )

    # Columns

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split, all of them with a label.

        Raises:
            DataError: The split is unknown or empty, or a sample of it has no label.
        """
        if split not in SPLITS:
            raise DataError(f"Unknown split '{split}'.", hint=f"The splits are {', '.join(SPLITS)}.")
        if split not in self.table.split:
            counts = ", ".join(f"{name} {count}" for name, count in self.table.splits().items())
            raise DataError(f"The split '{split}' of '{self.dataset.name}' is empty ({counts}).")
        rows = self.table.rows(split=split)
        if unlabelled := rows[np.isnan(self._labels[rows])].tolist():
            names = ", ".join(self.table.id[row] for row in unlabelled[:NAMED_SAMPLES])
            raise DataError(f"{len(unlabelled)} samples of split '{split}' have no label: {names}.")
        return rows

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Sample ids."""
        return [self.table.id[row] for row in rows]

    def rows_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows of sample ids.

        Raises:
            DataError: There is no such sample.
        """
        rows = []
        for name in ids:
            if name not in self._row_of:
                raise DataError(f"The dataset '{self.dataset.name}' has no sample '{name}'.")
            rows.append(self._row_of[name])
        return np.array(rows, np.int64)

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores, or class indices; NaN where a sample has none."""
        return self._labels[rows]

    @cached_property
    def _labels(self) -> NDArray[np.float64]:
        if self.dataset.task == "regression":
            return self.table.label
        index = {name: float(position) for position, name in enumerate(self.dataset.labels)}
        names = self.table.label_name
        if not any(names):
            return self.table.label
        if unknown := sorted({name for name in names if name and name not in index}):
            raise DataError(
                f"'{self.dataset.name}' has labels the pipeline does not know: {', '.join(unknown[:10])}.",
                hint=f"Its labels are {', '.join(self.dataset.labels)}; set dataset.labels in the pipeline.",
            )
        return np.array([index.get(name, np.nan) for name in names])

    def groups(self, rows: NDArray[np.int64]) -> dict[str, tuple[str, ...]]:
        """Dialogue, video and speaker of each sample, "" where unknown; those the table knows."""
        columns = {
            "dialogue": self.table.dialogue,
            "video": tuple(map(str, self.table.extra.get("video", ()))),
            "speaker": self.table.speaker,
        }
        return {
            name: tuple(column[row] for row in rows.tolist())
            for name, column in columns.items()
            if any(column)
        }

    def text_lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Length of each sample's text in characters, previous utterances included, for batching."""
        texts = [[self.table.text[row], *(t.text for t in self._previous(row))] for row in rows.tolist()]
        return np.array([sum(map(len, parts)) for parts in texts], np.int64)

    def donor_rows(self, ids: Seq[str]) -> NDArray[np.int64]:
        """Another sample of the same split for each sample: a fixed permutation, for shuffled ablations."""
        return self._donors[self.rows_of(ids)]

    @cached_property
    def _donors(self) -> NDArray[np.int64]:
        donors = np.arange(len(self.table))
        splits = np.array(self.table.split)
        for split in set(self.table.split):
            members = np.flatnonzero(splits == split)
            order = np.random.default_rng(0).permutation(members)
            donors[order] = np.roll(order, 1)  # one cycle: nobody is given their own
        return donors

    # Batches

    def prefetched(self, batches: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
        """The same batches of rows, the system reading the next ones' features from the disk meanwhile."""
        return prefetched(list(self._readers.values()), batches)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The samples of these rows."""
        modalities = {name: self._features_of(name, rows) for name in self._readers}
        return replace(self.words(rows), modalities=modalities)

    def words(self, rows: NDArray[np.int64] | None = None) -> Batch:
        """The samples of these rows (all by default) without their features."""
        rows = np.arange(len(self.table)) if rows is None else rows
        indices = rows.tolist()
        return Batch(
            ids=self.ids(rows),
            texts=[self.table.text[row] if self._with_text else None for row in indices],
            labels=self._labels[rows].tolist(),
            contexts=[self._previous(row) for row in indices] if self._context else None,
            speakers=[self.table.speaker[row] for row in indices] if self._context else None,
        )

    def _features_of(self, name: str, rows: NDArray[np.int64]) -> Sequence:
        values, lengths = read_tensors(self._readers[name], rows)
        if (limit := self._features.max_frames) is not None:
            values, lengths = values[:, :limit].contiguous(), lengths.clamp(max=limit)
        finite = values.isfinite()
        if not finite.all():
            values = self._without_nonfinite(name, rows, values, finite)
        return Sequence(values, lengths)

    def _without_nonfinite(
        self, name: str, rows: NDArray[np.int64], values: Tensor, finite: Tensor
    ) -> Tensor:
        if self._features.nonfinite == "zero":
            return values.where(finite, 0.0)
        bad = rows[~finite.all(dim=2).all(dim=1).numpy()]
        count = int((~finite).sum())
        raise DataError(
            f"The {name} features of {', '.join(self.ids(bad)[:NAMED_SAMPLES])} hold NaN or infinity "
            f"({count} values in {len(bad)} samples of this batch).",
            hint="Set features.nonfinite: zero to use 0.0 in their place; "
            "`msakit store check` counts them for the whole dataset.",
        )

    @cached_property
    def _dialogues(self) -> dict[str, NDArray[np.int64]]:
        return self.table.dialogues()

    def _previous(self, row: int) -> list[Turn]:
        """Up to `context` utterances before this one in its dialogue, oldest first."""
        dialogue = self.table.dialogue[row]
        if not self._context or not dialogue:
            return []
        members = self._dialogues[dialogue].tolist()
        before = members[: members.index(row)][-self._context :]
        return [Turn(self.table.text[other], self.table.speaker[other]) for other in before]

    # Checks and statistics

    def check_labels(self, rows: NDArray[np.int64], answers: AnswerSet) -> None:
        """Refuse labels no answer stands for, before hours of training meet them.

        Raises:
            DataError: Names the first sample.
        """
        for row in rows.tolist():
            try:
                answers.index_of(float(self._labels[row]))
            except DataError as error:
                raise DataError(f"Sample '{self.table.id[row]}': {error.message}", hint=error.hint) from error

    def scan(self, split: str) -> None:
        """Read a split's features once, so that bad values are met before hours of training.

        On the way, the training split's statistics are measured.

        Raises:
            DataError: They hold NaN or infinity, and features.nonfinite is error.
        """
        moments = {name: FrameMoments(reader.width) for name, reader in self._readers.items()}
        rows = self.rows(split)
        for part in self.prefetched(in_parts(rows)):
            for name in self._readers:
                moments[name].add(self._features_of(name, part))
        if split == "train":
            self._moments = moments

    def statistics(self, name: str) -> Statistics:
        """Mean and deviation of a modality's frames on the training split, float64 inside.

        Raises:
            DataError: No training sample has the modality.
        """
        if not self._moments:
            self.scan("train")
        if not self._moments[name].count:
            raise DataError(f"No training sample of '{self.dataset.name}' has {name} features.")
        return self._moments[name].statistics()
