"""Runtime of a child process that reads an untrusted file: resource limits and a one-line answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

ALIGNMENT = 64
_LIMIT_NAMES = {
    "memory_bytes": "RLIMIT_AS",
    "cpu_s": "RLIMIT_CPU",
    "written_bytes": "RLIMIT_FSIZE",
    "open_files": "RLIMIT_NOFILE",
}


class ChildFailure(Exception):
    """Why a file was not read; `kind` is what the parent turns into a message and a remedy."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def apply_limits(limits: dict[str, int]) -> None:
    """Set the resource limits of this process, for good (without `resource`, the clock alone)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, _LIMIT_NAMES[name]), (value, value))


def append_bytes(blob: BinaryIO, payload: bytes | bytearray | memoryview) -> int:
    """Append array bytes to the blob at an aligned offset, which is returned."""
    blob.write(b"\0" * (-blob.tell() % ALIGNMENT))
    offset = blob.tell()
    blob.write(payload)
    return offset


def run_child(work: Callable[[Path, Path], None]) -> None:
    """Run `work(source, spool)` under the limits in argv[1] (JSON); answer with one JSON line."""
    request = json.loads(sys.argv[1])
    # Past this line memory may be exhausted, so the answer for that case is ready beforehand.
    out_of_memory = json.dumps({"kind": "memory", "detail": ""})
    try:
        apply_limits(request["limits"])
        work(Path(request["source"]), Path(request["spool"]))
        answer = json.dumps({"kind": "done", "detail": ""})
    except ChildFailure as failure:
        answer = json.dumps({"kind": failure.kind, "detail": failure.detail[:2000]})
    except (MemoryError, RecursionError):
        answer = out_of_memory
    except OSError as error:
        answer = json.dumps({"kind": "io", "detail": str(error)[:2000]})
    sys.stdout.write(answer + "\n")
