"""Adoption of the journals of dead writers (docs/format.md, "Adoption").

Only a journal's own bytes can send it to quarantine. Whatever the machine does meanwhile - no descriptors, no
memory, a failing or full disk - is raised, and leaves everything as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msakit.feature_store.disk.files import list_folder, translated_errors
from msakit.feature_store.disk.journal import Locking, lock, read_owner
from msakit.feature_store.disk.layout import JOURNAL_NAME, FeatureSetFolder
from msakit.feature_store.disk.owner import owner_is_local, owner_lives
from msakit.feature_store.disk.seal import commit_journal, judge_journal, quarantine
from msakit.feature_store.errors import StoreFormatError, StoreVersionError
from msakit.feature_store.featureset import FeatureSet
from msakit.feature_store.regular import open_regular


@dataclass
class Recovery:
    """The outcome for each journal found when a store was opened for writing.

    Attributes:
        sealed: names of those turned into shards.
        alive: those whose writer lives.
        foreign: those of other machines, left alone.
        newer: those of a version this release does not read, left alone.
        quarantined: paths of those that are no journals of this feature set, or hold damaged bytes.
        num_samples: samples sealed.
        damaged_bytes: bytes of sealed journals that no longer are what was written.
    """

    sealed: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    num_samples: int = 0
    damaged_bytes: int = 0


def adopt_orphans(
    folder: FeatureSetFolder,
    feature_set: FeatureSet,
    *,
    wal_dir: Path | None = None,
    locking: Locking = "flock",
    foreign_older_than_s: float | None = None,
    now_s: float = 0.0,
) -> Recovery:
    """Seal the journals whose writer is dead; leave those of living and of foreign writers.

    Args:
        folder: the feature set's folder.
        feature_set: the feature set.
        wal_dir: where the journals are, when not inside the store.
        locking: "flock" trusts the lock, "none" looks at the owner's process.
        foreign_older_than_s: adopt journals of other hosts too when untouched for this long.
        now_s: the current time, for `foreign_older_than_s`.

    Raises:
        StoreError: when the machine refuses; nothing is lost, changed or put aside then.
    """
    recovery = Recovery()
    for path in list_folder(wal_dir or folder.wal):
        if JOURNAL_NAME.fullmatch(path.name):
            with translated_errors(path):
                _consider(folder, feature_set, path, recovery, (locking, foreign_older_than_s, now_s))
    return recovery


def _consider(
    folder: FeatureSetFolder,
    feature_set: FeatureSet,
    path: Path,
    recovery: Recovery,
    rules: tuple[Locking, float | None, float],
) -> None:
    locking, foreign_older_than_s, now_s = rules
    try:
        fd = open_regular(path, os.O_RDWR)
    except FileNotFoundError:
        return  # another writer adopted it between listing and opening
    except StoreFormatError:
        recovery.quarantined.append(str(quarantine(folder, path)))
        return
    try:
        owner = read_owner(fd, path.stem)
        if _writer_lives(fd, path, owner, locking):
            recovery.alive.append(path.name)
        elif owner and not owner_is_local(owner) and _is_young(fd, foreign_older_than_s, now_s):
            recovery.foreign.append(path.name)
        elif os.fstat(fd).st_nlink:  # the lock of a file that another has adopted is worth nothing
            _adopt(folder, feature_set, path, recovery)
    finally:
        os.close(fd)


def _adopt(folder: FeatureSetFolder, feature_set: FeatureSet, path: Path, recovery: Recovery) -> None:
    try:
        journal = judge_journal(feature_set, path)
    except StoreVersionError:
        recovery.newer.append(path.name)
        return
    except StoreFormatError:
        recovery.quarantined.append(str(quarantine(folder, path)))
        return
    aside = commit_journal(folder, feature_set, path, journal)
    recovery.sealed.append(path.name)
    recovery.num_samples += len(journal.rows.keys)
    recovery.damaged_bytes += journal.scan.damaged_bytes
    recovery.quarantined += [str(aside)] if aside else []


def _writer_lives(fd: int, path: Path, owner: Mapping[str, Any], locking: Locking) -> bool:
    """Tell whether somebody appends to a journal; if not, its lock is ours until `fd` is closed."""
    if locking == "none":
        return owner_is_local(owner) and owner_lives(owner)
    try:
        lock(fd, path)
    except BlockingIOError:
        return True
    return False


def _is_young(fd: int, older_than_s: float | None, now_s: float) -> bool:
    return older_than_s is None or now_s - os.fstat(fd).st_mtime < older_than_s
