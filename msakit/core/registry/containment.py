"""Running a plugin's code: it may raise or print anything, and neither ends a command nor spoils its data."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDOUT, _STDERR = 1, 2


@contextlib.contextmanager
def stdout_kept(printed: TextIO | None = None) -> Iterator[None]:
    """Within it, nothing reaches standard output.

    Args:
        printed: Takes what Python prints; by default that goes to standard error. What is written past Python
            always goes there.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, io.UnsupportedOperation):  # either may be closed
            sys.stdout.flush()
            saved = os.dup(_STDOUT)
            stack.callback(os.close, saved)
            os.dup2(_STDERR, _STDOUT)
            stack.callback(os.dup2, saved, _STDOUT)
        stack.enter_context(contextlib.redirect_stdout(printed or sys.stderr))
        yield


def describe_failure(error: BaseException) -> str:
    """The kind of an exception and what it says, in a line, whatever its own code does."""
    try:
        said = str(error).strip().partition("\n")[0]
    except Exception:  # noqa: BLE001 - an exception may fail at saying what it is
        said = "(it fails to say more)"
    kind = type(error).__name__
    if isinstance(error, SystemExit):
        kind = "it ends the program (SystemExit)"
    return f"{kind}: {said[:500]}" if said else kind
