"""Faults at the calls by which Python code touches files: the n-th is the last, or fails."""

from __future__ import annotations

import errno
import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGING = (
    "writev",
    "pwritev",
    "fsync",
    "fdatasync",
    "link",
    "rename",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "ftruncate",
)
"""Calls that change files or names: a process killed between any two of them leaves another state."""
READING = ("open", "pread", "stat", "scandir", "fstat")
ERRORS = {
    "descriptors": (errno.EMFILE, (*READING, "mkdir")),
    "memory": (errno.ENOMEM, (*CHANGING, *READING, "mmap")),
    "failing disk": (errno.EIO, (*CHANGING, "pread", "open")),
    "full disk": (
        errno.ENOSPC,
        ("writev", "pwritev", "fsync", "fdatasync", "link", "rename", "mkdir", "open"),
    ),
}


def kill_at(number: int) -> Callable[[], None]:
    """What makes this process die before the `number`-th call that changes something, counted from 0."""
    return lambda: _replace(CHANGING, number, lambda: os.kill(os.getpid(), signal.SIGKILL), once=True)


def fail_at(number: int, shortage: str, *, once: bool) -> Callable[[], None]:
    """What makes the `number`-th call fail with the error of a shortage; or it and all later ones."""
    code, _ = ERRORS[shortage]

    def fail() -> None:
        raise OSError(code, os.strerror(code))

    return lambda: _replace(ERRORS[shortage][1], number, fail, once=once)


def count(calls: tuple[str, ...], file: Path) -> Callable[[], None]:
    """What makes this process note in a file how many of these calls it has made."""

    def begin() -> None:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        _replace(calls, 0, lambda: os.write(fd, b"."), once=False)

    return begin


def _replace(calls: tuple[str, ...], number: int, act: Callable[[], object], *, once: bool) -> None:
    made = 0

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made == number + 1 or (made > number and not once):
                act()
            return call(*arguments, **options)

        return counted

    for name in calls:
        if name == "mmap":
            mmap.mmap = wrap(mmap.mmap)  # type: ignore[misc, assignment]
        else:
            setattr(os, name, wrap(getattr(os, name)))
