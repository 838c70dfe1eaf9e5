"""Who wrote a file: the process that a journal or a lease belongs to, and whether it lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msakit.feature_store.disk.files import boot_id, host_name, process_start


def owner_fields() -> dict[str, Any]:
    """An identity for this process, unique across machines."""
    return {
        "host": host_name(),
        "boot_id": boot_id(),
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
    }


def owner_is_local(owner: Mapping[str, Any]) -> bool:
    """Tell whether an owner ran on this machine, so that its lock and pid mean something here."""
    return owner.get("host") == host_name() or bool(boot_id() and owner.get("boot_id") == boot_id())


def owner_lives(owner: Mapping[str, Any]) -> bool:
    """Tell whether a local owner still runs (used where locks do not work)."""
    pid = owner.get("pid")
    if owner.get("boot_id") != boot_id() or not isinstance(pid, int):
        return False
    started = process_start(pid)
    return bool(started) and started == owner.get("process_start")
