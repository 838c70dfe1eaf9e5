"""Where journals go and how their owners are known: options of every command that writes features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from msakit.feature_store.writer import WriterOptions

WalDir = Annotated[
    Path | None, typer.Option(help="Folder on a local disk for the journals of a store on network storage.")
]
NoLocks = Annotated[
    bool, typer.Option("--no-locks", help="The file system has no flock; trust the owner's process.")
]


def writer_options(wal_dir: Path | None, no_locks: bool) -> WriterOptions:
    """The writers' options these two set."""
    from msakit.feature_store.writer import WriterOptions

    return WriterOptions(wal_dir=wal_dir, locking="none" if no_locks else "flock")
