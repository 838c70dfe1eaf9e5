"""Where a run came from: versions, seed, data, hardware, the state of the working tree."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from msakit.runs.git_state import git_state

PACKAGES = ("msakit", "torch", "transformers", "peft", "accelerate", "numpy", "h5py")


def collect(
    *,
    seed: int,
    data: dict[str, Any],
    plugins: dict[str, str] | None = None,
    backbone: dict[str, str] | None = None,
    command: list[str] | None = None,
) -> dict[str, Any]:
    """Everything that could explain a different number.

    Args:
        seed: The run's seed.
        data: What identifies the samples (store, dataset, table version, feature sets).
        plugins: Component to the package that brought it, with version.
        backbone: Where and in which dtype the backbone ran.
        command: The command line; the current one by default.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command or sys.argv,
        "seed": seed,
        "data": data,
        "plugins": plugins or {},
        "backbone": backbone or {},
        "versions": package_versions(),
        "hardware": hardware(),
        "git": git_state(Path.cwd()),
    }


def hardware() -> dict[str, Any]:
    """Processor, cores, accelerators."""
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerators": devices,
    }


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def package_versions() -> dict[str, str | None]:
    """Python and the packages whose version may change a number; None where one is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions
