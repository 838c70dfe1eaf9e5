"""Take descriptors, memory and disk away from every operation on a store."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.attack.child import run_child
from benchmarks.attack.faults import ERRORS, fail_at
from benchmarks.attack.store_world import (
    OPERATIONS,
    Operation,
    check_world,
    copy_world,
    count_calls,
    make_world,
)
from benchmarks.attack.tally import Family, Tally

FEW_DESCRIPTORS = range(4, 40)  # with 3 no interpreter starts
FEW_MEGABYTES = (0, 1, 2, 4, 8, 16, 32, 64)


def fail_calls(folder: Path, trials: int, seed: int) -> Tally:
    """Let a call fail, or it and all later ones, as each shortage does; a sample of calls and operations."""
    tally, rng = Tally(), random.Random(seed)
    make_world(folder / "template")
    pairs = [(operation, shortage) for operation in OPERATIONS for shortage in ERRORS]
    share = max(1, trials // len(pairs))
    for operation, shortage in rng.sample(pairs, min(trials, len(pairs))):
        num_calls = count_calls(folder, operation, ERRORS[shortage][1])
        for number in sorted(rng.sample(range(num_calls), min(share, num_calls))):
            once = bool(rng.getrandbits(1))
            what = f"{operation.name}, {shortage} at call {number}{' only' if once else ' and later'}"
            _attack(folder, operation, fail_at(number, shortage, once=once), tally, what)
    return tally


def few_descriptors(folder: Path, trials: int, seed: int) -> Tally:
    """Let operations have 4 to 39 descriptors."""
    limits = [(f"{number} descriptors", _limit(resource.RLIMIT_NOFILE, number)) for number in FEW_DESCRIPTORS]
    return _starve(folder, limits, trials, seed)


def little_memory(folder: Path, trials: int, seed: int) -> Tally:
    """Let operations have 0 to 64 MB of address space more than they begin with."""
    limits = [(f"{number} MB", _limit_memory(number << 20)) for number in FEW_MEGABYTES]
    return _starve(folder, limits, trials, seed)


def full_disk(folder: Path, trials: int, seed: int) -> Tally:
    """Run operations on really full file systems, then make room; needs root."""
    tally, rng = Tally(), random.Random(seed)
    make_world(folder / "template")
    mount = folder / "world"
    mount.mkdir()
    for _ in range(trials):
        operation, spare_kb = rng.choice(OPERATIONS), rng.choice((0, 4, 16, 64, 128))
        _mount(mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
        try:
            subprocess.run(["cp", "-a", f"{folder}/template/.", str(mount)], check=True)
            used_kb = sum(usage.f_blocks - usage.f_bfree for usage in [os.statvfs(mount)]) * 4
            _mount(mount, "-o", f"remount,size={used_kb + spare_kb}k")
            what = f"{operation.name} with {spare_kb} KB of disk"
            ending = run_child(lambda: operation.run(mount), folder / "log")  # noqa: B023
            tally.tried += 1
            ending.judge(tally, what)
            _mount(mount, "-o", "remount,size=64m")
            check_world(mount, tally, what)
        finally:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)
    return tally


def _starve(folder: Path, limits: list[tuple[str, Callable[[], None]]], trials: int, seed: int) -> Tally:
    tally, rng = Tally(), random.Random(seed)
    make_world(folder / "template")
    pairs = [(operation, limit) for operation in OPERATIONS for limit in limits]
    for operation, (what, prepare) in rng.sample(pairs, min(trials, len(pairs))):
        _attack(folder, operation, prepare, tally, f"{operation.name} with {what}")
    return tally


def _attack(folder: Path, operation: Operation, prepare: Callable[[], None], tally: Tally, what: str) -> None:
    world = copy_world(folder / "template", folder / "world")
    ending = run_child(lambda: operation.run(world), folder / "log", prepare=prepare)
    tally.tried += 1
    ending.judge(tally, what)
    check_world(world, tally, what)


def _limit(kind: int, number: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (number, resource.getrlimit(kind)[1]))


def _limit_memory(extra_bytes: int) -> Callable[[], None]:
    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + extra_bytes)()

    return limit


def _mount(mount: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(mount)], check=True)


FAMILIES = [
    Family("store: failing calls", fail_calls, short=10, full=1000),
    Family("store: few descriptors", few_descriptors, short=6, full=370),
    Family("store: little memory", little_memory, short=4, full=80),
    *([Family("store: full disk", full_disk, short=2, full=100)] if os.geteuid() == 0 else []),
]
