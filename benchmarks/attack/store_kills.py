"""Kill a process before each call by which it changes a store, operation by operation."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from benchmarks.attack.child import run_child
from benchmarks.attack.faults import CHANGING, kill_at
from benchmarks.attack.store_world import OPERATIONS, check_world, copy_world, count_calls, make_world
from benchmarks.attack.tally import Family, Tally

READ_ONLY = ("rm",)


def kill(folder: Path, trials: int, seed: int) -> Tally:
    """Kill every operation before its 1st, 2nd, 3rd ... change; a sample of them when that is too many."""
    tally, rng = Tally(), random.Random(seed)
    make_world(folder / "template")
    share = max(1, trials // len(OPERATIONS))
    for operation in OPERATIONS:
        if operation.name in READ_ONLY:
            continue
        num_calls = count_calls(folder, operation, CHANGING)
        for number in sorted(rng.sample(range(num_calls), min(share, num_calls))):
            world = copy_world(folder / "template", folder / "world")
            what = f"{operation.name} killed at call {number}"
            ending = run_child(lambda: operation.run(world), folder / "log", prepare=kill_at(number))  # noqa: B023
            tally.tried += 1
            if ending.code != -signal.SIGKILL:
                ending.judge(tally, what)
            check_world(world, tally, what)
    return tally


FAMILIES = [Family("store: kills", kill, short=9, full=1000)]
