"""Faults at chosen system calls, through strace: kills, full disks, failing disks, and the order of calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HARNESS = Path(__file__).with_name("crash_harness.py")
CALLS = (
    "writev",
    "pwritev2",
    "fsync",
    "fdatasync",
    "link",
    "linkat",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "ftruncate",
    "flock",
    "mkdir",
    "openat",
    "close",
)
"""Every kind of call by which a writer changes files or names, and its opens and closes.

os.pwritev is the call pwritev2.
"""


@dataclass(frozen=True)
class Fault:
    """One fault: at the `number`-th `call` on the store, "KILL" the writer or return the error."""

    call: str
    number: int
    what: str

    @property
    def injection(self) -> str:
        """The fault in strace's words."""
        effect = "signal=KILL" if self.what == "KILL" else f"error={self.what}"
        return f"{self.call}:{effect}:when={self.number}"


def strace_works() -> bool:
    """Whether strace exists and may trace here."""
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode
        == 0
    )


def worker_command(store: Path, acknowledged: Path, num_samples: int) -> list[str]:
    """The command line of one worker."""
    return [sys.executable, str(HARNESS), str(store), str(acknowledged), "--samples", str(num_samples)]


def run_with_fault(store: Path, acknowledged: Path, fault: Fault, num_samples: int) -> int:
    """Run a worker with one fault; return its exit status, 137 or negative when it was killed."""
    # Not --seccomp-bpf: with it strace 6.1 injects errors but no signals.
    command = ["strace", "-f", "-o", "/dev/null"]
    command += ["-e", f"trace={fault.call}", "-e", f"inject={fault.injection}"]
    done = subprocess.run(
        [*command, *worker_command(store, acknowledged, num_samples)],
        capture_output=True,
        check=False,
        env=worker_environment(),
        timeout=120,
    )
    return done.returncode


def fault_points(store: Path, acknowledged: Path, log: Path, num_samples: int) -> dict[str, list[int]]:
    """Run a worker and return, for each kind of call, which of its occurrences touch the store."""
    seen: dict[str, int] = {}
    points: dict[str, list[int]] = {}
    for line in traced_lines(store, acknowledged, log, num_samples):
        call = line.partition("(")[0]
        seen[call] = seen.get(call, 0) + 1
        if str(store) in line:
            points.setdefault(call, []).append(seen[call])
    return points


def trace(store: Path, acknowledged: Path, log: Path, num_samples: int) -> list[str]:
    """Run a worker and return the calls it made on the store, in order, with paths of descriptors."""
    return [line for line in traced_lines(store, acknowledged, log, num_samples) if str(store) in line]


def traced_lines(store: Path, acknowledged: Path, log: Path, num_samples: int) -> list[str]:
    """Run a worker and return every call of the traced kinds, in order."""
    command = ["strace", "-f", "-y", "-e", f"trace={','.join(CALLS)}", "-o", str(log)]
    subprocess.run(
        [*command, *worker_command(store, acknowledged, num_samples)],
        capture_output=True,
        check=True,
        env=worker_environment(),
        timeout=120,
    )
    lines = log.read_text(errors="replace").splitlines()
    return [re.sub(r"^\d+ +", "", line) for line in lines if "unfinished" not in line]


def worker_environment() -> dict[str, str]:
    """Environment of a worker: it finds the package of this checkout and writes no byte code."""
    root = str(HARNESS.parents[2])
    return os.environ | {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
