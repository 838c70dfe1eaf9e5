"""Ctrl-C and SIGTERM: training stops after the step it is making, and saves it."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


def interrupt(number: int, _: FrameType | None) -> None:
    """Handle a signal: interrupt as Ctrl-C does, and remember it for the training that comes next.

    A library that swallows every exception (compiled modules do while they are imported) swallows the
    interruption too. Who sent it, a scheduler or a process beside this one, does not send it twice.

    Raises:
        KeyboardInterrupt: Always.
    """
    _received.append(number)
    raise KeyboardInterrupt


class StopRequest:
    """Within it, the first signal is only noted, for the training to act on; a second one interrupts.

    Attributes:
        signal: The signal that came, within it or before; 0 while none has.
    """

    def __init__(self) -> None:
        self.signal = _received[0] if _received else 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
