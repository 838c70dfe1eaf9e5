"""Tensors give their memory back when they are freed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from msakit.training.allocator import return_freed_tensors

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

changed = return_freed_tensors() if sys.argv[1] == "set" else False
np.ones(2 << 20)  # 16 MiB, freed at once: glibc raises its threshold to that
before, kept, freed = resident(), [], []
for _ in range(64):  # activations that stay between temporary ones
    freed.append(np.ones(1 << 17))
    kept.append(np.ones(1 << 10))
freed.clear()
print(changed, resident() - before)
"""


def held(mode, **environment):
    """What the call returned, and MiB of 64 freed ones that the process still holds."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    changed, size = result.stdout.split()
    return changed == "True", float(size)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="Only glibc's allocator is set.")
def test_freed_arrays_go_back_to_the_system():
    assert held("unset")[1] > 32
    changed, size = held("set")
    assert changed
    assert size < 8


def test_a_threshold_of_the_user_s_own_is_kept():
    assert not held("set", MALLOC_MMAP_THRESHOLD_="33554432")[0]
