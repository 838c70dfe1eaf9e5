"""How the C library hands out memory while training on a CPU.

By default glibc puts blocks of up to 32 MiB on its heap once one of that size was freed. Before version 2.38
it rarely reuses a freed aligned block for one of the same size (glibc bug 14581), and torch asks for nothing
but aligned blocks: gaps stay between the activations, a third of the process's memory at worst. A block that
is mapped by itself goes back to the system when it is freed, which costs time: docs/training.md has both.
"""

from __future__ import annotations

import ctypes
import os

_M_MMAP_THRESHOLD = -3  # <malloc.h>
MAPPED_FROM_BYTES = 256 << 10


def return_freed_tensors() -> bool:
    """Let every tensor of 256 KiB and more return its memory when it is freed, for the rest of the process.

    Who sets MALLOC_MMAP_THRESHOLD_ has chosen otherwise and is left alone.

    Returns:
        Whether that was done; libraries other than glibc do not know the setting.
    """
    mallopt = None if os.name == "nt" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES))
