"""Removing what no table needs any more: compacted shards and, if asked, feature sets (`msakit store gc`)."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from msakit.feature_store.disk.files import (
    fsync_directory,
    list_folder,
    remove_dead_temporaries,
    temporary_name,
    translated_errors,
)
from msakit.feature_store.disk.layout import FeatureSetFolder, StoreFolder, read_tombstone
from msakit.feature_store.disk.lease import unleased
from msakit.feature_store.disk.tables import dataset_names, read_table, table_path, table_versions
from msakit.feature_store.errors import StoreError
from msakit.feature_store.regular import reading
from msakit.feature_store.store import FeatureStore

GRACE_S = 3600.0
OBSOLETE_CACHE = "catalog"
"""Where earlier releases cached the index."""


@dataclass
class Garbage:
    """Paths that are of no use any more with their size, and what is kept although no table names it."""

    paths: list[Path] = field(default_factory=list)
    num_bytes: int = 0
    kept: dict[Path, str] = field(default_factory=dict)
    """Feature sets that are kept, and why."""

    def add(self, path: Path) -> None:
        """Note a file or folder."""
        self.paths.append(path)
        self.num_bytes += size_of(path)

    def keep(self, path: Path, reason: str) -> None:
        """Note that a feature set stays."""
        self.kept[path] = reason
        if path in self.paths:
            self.paths.remove(path)
            self.num_bytes -= size_of(path)


def find_garbage(
    store: FeatureStore, *, unreferenced: bool = False, grace_s: float = GRACE_S, now_s: float | None = None
) -> Garbage:
    """List what can be removed without losing a sample any table names.

    Args:
        store: the store.
        unreferenced: also feature sets no current table names (and the superseded tables that do name them),
            unless somebody is filling them or they changed within the grace period.
        grace_s: how long compacted shards are kept for readers opened before, and feature sets for tables yet
            to be written.
        now_s: the current time.

    Raises:
        StoreError: when the store is a single file, or a table cannot be read: it may name anything.
    """
    if not grace_s >= 0:
        raise StoreError(f"a grace period of {grace_s} s is not a time", "Give 0 or more.")
    root, now = folder_of(store), time.time() if now_s is None else now_s
    garbage = Garbage()
    for folder in root.feature_sets():
        names = {path.name for path in list_folder(folder.shards)}
        retired_at = _retirement_times(folder)
        for name in sorted(folder.retired_shards(names) & names):
            if now - retired_at[name] >= grace_s:
                garbage.add(folder.shards / name)
        if (folder.path / OBSOLETE_CACHE).is_dir():
            garbage.add(folder.path / OBSOLETE_CACHE)
    if unreferenced:
        _add_unreferenced(root, garbage, now - grace_s)
    return garbage


def collect_garbage(store: FeatureStore, garbage: Garbage) -> None:
    """Remove what `find_garbage` listed, and temporary files of dead processes.

    A feature set that somebody began to fill, or a table to name, since it was listed is kept.

    Raises:
        StoreWriteError: when the system refuses.
    """
    root = folder_of(store)
    feature_sets = {folder.path: folder for folder in root.feature_sets()}
    with translated_errors(root.path):
        for path in list(garbage.paths):
            if path in feature_sets:
                _remove_feature_set(root, feature_sets[path], garbage)
            else:
                remove(root, path)
        for folder in [root.path, root.path / "tmp", *(item.tmp for item in root.feature_sets())]:
            remove_dead_temporaries(folder, GRACE_S, time.time())
    store.refresh()


def folder_of(store: FeatureStore) -> StoreFolder:
    """The folder of a store that can be changed.

    Raises:
        StoreError: when it is a single file.
    """
    if store.read_only:
        raise StoreError(f"{store.path} is a single-file store, which is read-only", "Use a store folder.")
    return StoreFolder(store.path)


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything in a folder."""
    with reading(path):
        if not path.is_dir():
            return path.lstat().st_size
        return sum(item.lstat().st_size for item in path.rglob("*") if item.is_file())


def remove(root: StoreFolder, path: Path) -> None:
    """Remove a file, or a folder of a store with everything in it.

    Raises:
        OSError: as the system says.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(_out_of_sight(root, path))
    else:
        path.unlink(missing_ok=True)
        fsync_directory(path.parent)


def _out_of_sight(root: StoreFolder, path: Path) -> Path:
    """Take a folder's name away in one step: a half-removed folder must never look like a store's."""
    doomed = temporary_name(root.path / "tmp", ".removed")
    path.rename(doomed)
    fsync_directory(path.parent)
    return doomed


def _add_unreferenced(root: StoreFolder, garbage: Garbage, oldest_s: float) -> None:
    doomed = set()
    used = _used(root)
    for folder in root.feature_sets():
        if folder.fingerprint in used:
            continue
        changed_s = _changed_at(folder)
        with unleased(folder) as holders:
            reason = _reason_to_stay(folder, holders)
        if not reason and changed_s > oldest_s:
            reason = "it changed within the grace period"
        if reason:
            garbage.keep(folder.path, reason)
            continue
        doomed.add(folder.fingerprint)
        garbage.add(folder.path)
    for name in dataset_names(root):
        for version in table_versions(root, name)[:-1]:
            table = read_table(root, name, version)
            if any(item.fingerprint in doomed for item in table.features.values()):
                garbage.add(table_path(root, name, version))


def _reason_to_stay(folder: FeatureSetFolder, holders: list[str]) -> str:
    if holders:
        return f"being filled by {', '.join(holders)}"
    return "it has a journal: msakit store recover" if list_folder(folder.wal) else ""


def _changed_at(folder: FeatureSetFolder) -> float:
    places = (folder.path, folder.shards, folder.leases)
    with reading(folder.path):
        return max(path.stat().st_mtime for path in places if path.exists())


def _remove_feature_set(root: StoreFolder, folder: FeatureSetFolder, garbage: Garbage) -> None:
    with contextlib.ExitStack() as stack:
        holders = stack.enter_context(unleased(folder))
        if _reason_to_stay(folder, holders) or folder.fingerprint in _used(root):
            garbage.keep(folder.path, "it has come into use")
            return
        doomed = _out_of_sight(root, folder.path)
    shutil.rmtree(doomed)


def _used(root: StoreFolder) -> set[str]:
    """Fingerprints that the current table of some dataset names."""
    tables = (read_table(root, name, None) for name in dataset_names(root))
    return {item.fingerprint for table in tables for item in table.features.values()}


def _retirement_times(folder: FeatureSetFolder) -> dict[str, float]:
    """When each shard was last named as old by a tombstone."""
    times: dict[str, float] = {}
    for path in folder.tombstone_files():
        old, _ = read_tombstone(path)
        with reading(path):
            written_s = path.stat().st_mtime
        times |= {name: max(written_s, times.get(name, 0.0)) for name in old}
    return times
