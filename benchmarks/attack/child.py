"""Runs something in a forked child with a limit of time, and sees how it ended."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attack.tally import Tally

LIMIT_S = 20.0
LIMIT_BYTES = 1 << 30
MOST_DESCRIPTORS = 256
EXPECTED_CODES = (0, 1, 2)


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        code: exit code; negative for a signal; None when it did not end in time.
        output: what it printed, stdout and stderr.
        peak_bytes: the most memory it held, what it shared with the parent included.
    """

    code: int | None
    output: str
    peak_bytes: int

    def judge(self, tally: Tally, what: str, codes: Sequence[int] = EXPECTED_CODES) -> None:
        """Count what must not happen, whatever was attacked."""
        last = self.output.strip().rpartition("\n")[2][:160]
        if self.code is None:
            tally.note("hung", what)
        elif self.code < 0 or "Traceback (most recent call last)" in self.output:
            tally.note("traceback", f"{what}: {last or f'signal {-self.code}'}")
        elif self.code not in codes:
            tally.note("wrong_code", f"{what}: {self.code}: {last}")
        if self.peak_bytes > LIMIT_BYTES:
            tally.note("heavy", f"{what}: {self.peak_bytes / 1e9:.1f} GB")


def run_child(
    work: Callable[[], None],
    log: Path,
    *,
    prepare: Callable[[], None] = lambda: None,
    limit_s: float = LIMIT_S,
) -> Ending:
    """Run `work` in a forked child, after `prepare` there (limits, faults)."""
    pid = os.fork()
    if pid == 0:
        _be_child(work, log, prepare)
    deadline = time.monotonic() + limit_s
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            _, _, usage = os.wait4(pid, 0)
            code = None
            break
        time.sleep(0.002)
    return Ending(code, log.read_text(errors="replace"), usage.ru_maxrss << 10)


def command(arguments: Sequence[str]) -> Callable[[], None]:
    """What runs a command line of msakit in this process."""

    def run() -> None:
        from msakit.cli.app import app

        app(list(arguments), prog_name="msakit")

    return run


def _be_child(work: Callable[[], None], log: Path, prepare: Callable[[], None]) -> None:
    """Do the work and leave as an interpreter would; never return into the parent's code."""
    code = 0
    try:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.closerange(3, MOST_DESCRIPTORS)  # what the parent happens to have open is not the child's
        prepare()
        work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - it is what the harness looks for
        code = 1
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
