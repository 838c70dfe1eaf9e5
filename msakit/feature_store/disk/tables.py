"""Versions of the sample tables of a store folder."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from msakit.feature_store.disk.files import (
    fsync_directory,
    list_folder,
    publish,
    temporary_name,
    translated_errors,
)
from msakit.feature_store.disk.hdf5 import open_safely
from msakit.feature_store.disk.hdf5_write import FileBuilder
from msakit.feature_store.disk.layout import StoreFolder
from msakit.feature_store.disk.table_file import TableParser, TableWriter, check_names
from msakit.feature_store.errors import StoreError
from msakit.feature_store.featureset import NAME
from msakit.feature_store.table import SampleTable

VERSION_NAME = re.compile(r"(\d{6})\.h5")


def dataset_names(store: StoreFolder) -> list[str]:
    """Names of the datasets with at least one table."""
    return [path.name for path in list_folder(store.tables) if table_versions(store, path.name)]


def table_versions(store: StoreFolder, dataset: str) -> list[int]:
    """Versions of a dataset's table, oldest first."""
    matches = (VERSION_NAME.fullmatch(path.name) for path in list_folder(store.tables / dataset))
    return sorted(int(match[1]) for match in matches if match)


def read_table(store: StoreFolder, dataset: str, version: int | None) -> SampleTable:
    """Read one version of a table, the newest when `version` is None.

    Raises:
        StoreError: when there is none.
    """
    check_dataset_name(dataset)
    versions = table_versions(store, dataset)
    if not versions:
        known = ", ".join(dataset_names(store)) or "none"
        raise StoreError(f"{store.path} has no dataset {dataset!r}", f"Its datasets: {known}.")
    chosen = versions[-1] if version is None else version
    if chosen not in versions:
        raise StoreError(f"{store.path}: {dataset!r} has no version {chosen}", f"Its versions: {versions}.")
    return read_table_file(table_path(store, dataset, chosen))


def read_table_file(path: Path) -> SampleTable:
    """Read a table file."""
    with open_safely(path) as file:
        return TableParser(file, file.root).read()


def write_table(store: StoreFolder, dataset: str, table: SampleTable) -> SampleTable:
    """Write a new version; racing writers get different numbers.

    Raises:
        StoreWriteError: when the system refuses.
    """
    check_dataset_name(dataset)
    check_names(list(table.columns()))
    check_names(list(table.features))
    folder = store.tables / dataset
    with translated_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        fsync_directory(store.tables)
        while True:
            version = max(table_versions(store, dataset), default=0) + 1
            numbered = replace(table, version=version)
            tmp = temporary_name(store.path / "tmp", ".h5")
            try:
                with FileBuilder() as builder:
                    TableWriter(builder, builder.root).write(numbered)
                    builder.write(tmp)
                if publish(tmp, table_path(store, dataset, version)):
                    return numbered
            finally:
                tmp.unlink(missing_ok=True)


def table_path(store: StoreFolder, dataset: str, version: int) -> Path:
    """Path of one version of a table."""
    return store.tables / dataset / f"{version:06d}.h5"


def check_dataset_name(dataset: str) -> None:
    """Check that a name can be a folder.

    Raises:
        StoreError: when it cannot.
    """
    if not NAME.fullmatch(dataset):
        raise StoreError(f"{dataset!r} cannot name a dataset", "Use letters, digits, _ . - (at most 63).")
