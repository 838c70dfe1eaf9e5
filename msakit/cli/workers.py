"""Processes of this machine that train the runs of one study side by side.

On a CPU two processes of one thread do more than one of two threads at a small model's sizes. Each takes the
next run that nobody is training, so all of them are the same command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.render import say
from msakit.core.errors import MsakitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKER_BYTES = 6 << 30
"""What a run of the quick start holds at most, backbone and prefix cache included."""

Workers = Annotated[
    int,
    typer.Option("--workers", min=1, help="Number of processes that share the runs; each loads the model."),
]


def fitting_workers() -> int:
    """As many processes as there are processors and memory for; one where a GPU does the work."""
    import torch

    if torch.cuda.is_available():
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(torch.get_num_threads(), memory // WORKER_BYTES))


@contextmanager
def sharing(command: Sequence[str | Path], workers: int, folder: Path) -> Iterator[None]:
    """Run a command `workers - 1` times beside what is done here, and divide the processors among all.

    The others write to `folder`/worker-N.log. They are waited for at the end, and told to save and stop when
    this process is interrupted or fails.

    Raises:
        MsakitError: One of the others failed; what the rest did is kept.
    """
    if workers < 2:
        yield
        return
    import torch

    before = torch.get_num_threads()
    threads = max(1, before // workers)
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"worker-{number}.log" for number in range(2, workers + 1)]
    others = [_start([*command, "--workers", "1"], threads, log) for log in logs]
    say(f"Sharing the runs with {_processes(others)}, which writes to {folder}/worker-*.log.")
    try:
        yield
        if any(other.poll() is None for other in others):
            say("Waiting for the runs of the other processes.")
        codes = [other.wait() for other in others]
    finally:
        _stop(others)
        torch.set_num_threads(before)
    if failed := [log for log, code in zip(logs, codes, strict=True) if code]:
        raise MsakitError(
            f"A process beside this one failed; {failed[0]} says why.",
            hint="What was finished is kept; the same command does the rest.",
        )


def _processes(others: Sequence[subprocess.Popen[bytes]]) -> str:
    return "another process" if len(others) == 1 else f"{len(others)} other processes"


def _start(command: Sequence[str | Path], threads: int, log: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-m", "msakit", *options.arguments(), *map(str, command)]
    with log.open("wb") as file:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then tells them once
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )


def _stop(others: Sequence[subprocess.Popen[bytes]]) -> None:
    running = [other for other in others if other.poll() is None]
    for other in running:
        other.terminate()  # a training saves what it has before it ends
    for other in running:
        other.wait()
