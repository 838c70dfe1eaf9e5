"""The feature store: feature sets, sample tables, writers and readers of one folder or single file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Self

from msakit.feature_store.disk.index_cache import read_sample_index
from msakit.feature_store.disk.layout import StoreFolder
from msakit.feature_store.disk.lease import Lease
from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.disk.single_file import StoreFile, write_store_file
from msakit.feature_store.disk.tables import dataset_names, read_table, table_versions, write_table
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.reader import FeatureReader, Verify
from msakit.feature_store.regular import reading
from msakit.feature_store.table import SampleTable
from msakit.feature_store.writer import Durability, FeatureWriter, NanPolicy, WriterOptions


class FeatureStore:
    """A store of features and sample tables.

    A folder can be read and written; a single ``.h5`` file can be read. What a store object knows is a
    snapshot: `refresh` looks again.
    """

    def __init__(self, path: Path, file: StoreFile | None) -> None:
        self.path = path
        self._file = file
        self._folder = StoreFolder(path)
        self._indexes: dict[str, SampleIndex] = dict(file.indexes) if file else {}

    @classmethod
    def create(cls, path: str | PathLike[str]) -> Self:
        """Create a store in an absent or empty folder.

        Raises:
            StoreError: when the folder holds something else, or a store already.
            StoreWriteError: when the system refuses.
        """
        root = Path(path)
        if not StoreFolder(root).create():
            raise StoreError(f"{root} is a store already", "Open it, or choose another folder.")
        return cls(root, None)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Open a store: a folder, or a single ``.h5`` file.

        Raises:
            StoreError: when there is no store, or it is damaged or of an unknown version.
        """
        root = Path(path)
        with reading(root):
            there, folder = root.exists(), root.is_dir()
        if not there:
            raise StoreError(
                f"there is no store at {root}", "Check the path, or create one with `msakit store import`."
            )
        if not folder:
            return cls(root, StoreFile(root))
        StoreFolder(root).check()
        return cls(root, None)

    @classmethod
    def open_or_create(cls, path: str | PathLike[str]) -> Self:
        """Open a store, creating it first where there is none yet; any number of processes may race."""
        root = Path(path)
        with reading(root):
            there = root.is_file() or StoreFolder(root).document.exists()
        if not there:
            StoreFolder(root).create()
        return cls.open(root)

    @property
    def read_only(self) -> bool:
        """Whether this is a single file, which nothing can be added to."""
        return self._file is not None

    def refresh(self) -> None:
        """Look again: samples sealed since, by anyone, are seen by readers made from now on."""
        if self._file is not None:
            self._file = StoreFile(self.path)
        self._indexes = dict(self._file.indexes) if self._file else {}

    def fingerprints(self) -> list[str]:
        """Return the fingerprints of all feature sets, whether or not they can be read."""
        if self._file is not None:
            return sorted(self._file.indexes)
        return [folder.fingerprint for folder in self._folder.feature_sets()]

    def feature_sets(self) -> dict[str, FeatureSet]:
        """Return fingerprint -> feature set.

        Raises:
            StoreError: when one of them is damaged.
        """
        return {fingerprint: self._load(fingerprint) for fingerprint in self.fingerprints()}

    def feature_set(self, name: str) -> FeatureSet:
        """Return the feature set whose fingerprint begins with `name`.

        Raises:
            StoreError: when none does, or several do.
        """
        found = [fingerprint for fingerprint in self.fingerprints() if fingerprint.startswith(name)]
        if len(found) == 1:
            return self._load(found[0])
        count = "several feature sets begin" if found else "no feature set begins"
        raise StoreError(f"{self.path}: {count} with {name!r}", "List them: msakit store ls")

    def index(self, fingerprint: str) -> SampleIndex:
        """Return the snapshot of one feature set: every sample with its place."""
        if fingerprint not in self._indexes:
            feature_set = self._load(fingerprint)
            folder = self._folder.feature_set(fingerprint)
            self._indexes[fingerprint] = read_sample_index(folder, feature_set, writable=True)
        return self._indexes[fingerprint]

    def _load(self, fingerprint: str) -> FeatureSet:
        if fingerprint not in self.fingerprints():
            raise StoreError(f"{self.path} has no feature set {fingerprint}", "List them: msakit store ls")
        if self._file is not None:
            return self._file.indexes[fingerprint].feature_set
        return self._folder.feature_set(fingerprint).load()

    def writer(
        self,
        feature_set: FeatureSet,
        options: WriterOptions | None = None,
        *,
        nan_policy: NanPolicy = "error",
        durability: Durability = "1s",
        provenance: Mapping[str, Any] | None = None,
    ) -> FeatureWriter:
        """Open a writer for a feature set; journals of dead writers are sealed first.

        Args:
            feature_set: what will be written; created in the store when new.
            options: all settings at once; the three others are shorthands used when it is None.
            nan_policy: "error", "keep" or "zero" (see `WriterOptions`).
            durability: "os", "1s" or "each".
            provenance: who extracts, with which versions.

        Raises:
            StoreError: when the store is a single file, or the provenance is not a small JSON object.
        """
        self._check_writable()
        folder = self._folder.feature_set(feature_set.fingerprint)
        if options is None:
            options = WriterOptions(nan_policy=nan_policy, durability=durability, provenance=provenance or {})
        return FeatureWriter(folder, feature_set, options)

    @contextmanager
    def hold(self, feature_sets: Iterable[FeatureSet]) -> Iterator[None]:
        """Keep garbage collection away from feature sets until the block ends: until a table names them.

        A writer does so from open to close; this is for what fills several before it writes the table.

        Raises:
            StoreError: when the store is a single file, or the system refuses.
        """
        self._check_writable()
        with ExitStack() as stack:
            for feature_set in feature_sets:
                lease = Lease(self._folder.feature_set(feature_set.fingerprint), feature_set)
                stack.callback(lease.release)
            yield

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have a sample table."""
        return sorted(self._file.tables) if self._file else dataset_names(self._folder)

    def versions(self, dataset: str) -> list[int]:
        """Return the versions of a dataset's table, oldest first."""
        return [self.table(dataset).version] if self._file else table_versions(self._folder, dataset)

    def table(self, dataset: str, version: int | None = None) -> SampleTable:
        """Return a dataset's sample table, the newest version unless told otherwise.

        Raises:
            StoreError: when the store has no such dataset or version.
        """
        if self._file is None:
            return read_table(self._folder, dataset, version)
        if dataset not in self._file.tables:
            known = ", ".join(self.datasets()) or "none"
            raise StoreError(f"{self.path} has no dataset {dataset!r}", f"Its datasets: {known}.")
        table = self._file.tables[dataset]
        if version not in (None, table.version):
            raise StoreError(
                f"{self.path} has only version {table.version} of {dataset!r}", "Leave the version out."
            )
        return table

    def write_table(self, dataset: str, table: SampleTable) -> SampleTable:
        """Store a new version of a dataset's table; earlier versions stay.

        Returns:
            The table with its version number.

        Raises:
            StoreError: when it names a feature set the store does not have.
        """
        self._check_writable()
        known = self.fingerprints()
        for modality, item in table.features.items():
            if item.fingerprint not in known:
                raise StoreError(
                    f"table {dataset!r}: {modality} names feature set {item.fingerprint}, "
                    f"which is not in {self.path}",
                    "Write the features first: store.writer(feature_set).",
                )
            named = self._load(item.fingerprint).modality
            if named != modality:
                raise StoreError(
                    f"table {dataset!r}: column {modality!r} names a feature set of {named!r}",
                    "Name the column after the modality of its feature set.",
                )
        return write_table(self._folder, dataset, replace(table, version=0))

    def reader(self, table: SampleTable, modality: str, *, verify: Verify = "first") -> FeatureReader:
        """Return a reader of one modality for the rows of a table.

        Args:
            table: the sample table, or a selection of one.
            modality: which features.
            verify: check each sample's checksum the "first" time it is read, "always" or "never".

        Raises:
            StoreError: when the table has no such modality, or names samples the store does not have.
        """
        column = table.feature(modality)
        return FeatureReader(self.index(column.fingerprint), column, verify=verify)

    def export_single_file(self, path: str | PathLike[str], datasets: Sequence[str] | None = None) -> None:
        """Write datasets (all by default) with their features into one read-only file.

        Raises:
            StoreError: when the file exists or cannot be written.
        """
        tables = {name: self.table(name) for name in (self.datasets() if datasets is None else datasets)}
        used = {item.fingerprint for table in tables.values() for item in table.features.values()}
        write_store_file(Path(path), tables, {name: self.index(name) for name in sorted(used)})

    def _check_writable(self) -> None:
        if self._file is not None:
            raise StoreError(
                f"{self.path} is a single-file store, which is read-only",
                "Copy it: `msakit store merge`.",
            )
