"""A short version of `make attack`: nothing gets through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_no_attack_gets_through() -> None:
    # In a process of its own: the attacks fork, and the tests' process may hold models and threads.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attack", "--short"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "store: kills" in done.stdout
