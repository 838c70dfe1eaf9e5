"""Long crash suite of the feature store: `make crash`.

Kills writers at random moments (one and three at once), kills one at every call that touches the store, makes
those calls fail as on a full or failing disk, and runs writers on a really full file system. After every
fault the store is opened as the next user would and every sample compared bit for bit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from feature_store import crash_harness as harness
from feature_store import fault_injection as injection

from msakit.feature_store import FeatureStore

Series = tuple[str, int, Callable[[Path], harness.Tally]]

SAMPLES_PER_FAULT = 60
KILLS_PER_STORE = 20
ERRORS = ("ENOSPC", "EIO")
ERROR_CALLS = ("writev", "pwritev2", "fsync", "fdatasync", "link", "rename", "ftruncate", "openat")


def kill_at_random(num_kills: int, num_workers: int, folder: Path, seed: int) -> harness.Tally:
    tally, rng = harness.Tally(), random.Random(seed)
    for chain in itertools.count():
        # A chain of kills on one store, then a fresh one: comparing everything grows with the store.
        place = folder / str(chain)
        store = new_store(place)
        for _ in range(KILLS_PER_STORE):
            tally.kills += harness.kill_randomly(store, place, rng, num_workers=num_workers, longest_s=0.25)
            harness.examine(store, place, tally)
            if tally.kills >= num_kills or not tally.clean:
                return tally
    return tally


def kill_at_calls(num_kills: int, folder: Path, seed: int) -> harness.Tally:
    return inject(num_kills, folder, seed, lambda call, number: injection.Fault(call, number, "KILL"))


def fail_at_calls(num_faults: int, folder: Path, seed: int) -> harness.Tally:
    rng = random.Random(seed)
    return inject(
        num_faults,
        folder,
        seed,
        lambda call, number: (
            injection.Fault(call, number, rng.choice(ERRORS)) if call in ERROR_CALLS else None
        ),
    )


def inject(
    num_faults: int, folder: Path, seed: int, fault_of: Callable[[str, int], injection.Fault | None]
) -> harness.Tally:
    """Inject faults at points spread evenly over all kinds of calls, in random order."""
    tally, rng = harness.Tally(), random.Random(seed)
    store, acknowledged = new_store(folder / "trace"), folder / "acknowledged"
    points = injection.fault_points(store, acknowledged, folder / "log", SAMPLES_PER_FAULT)
    by_call: dict[str, list[injection.Fault]] = {}
    for call, numbers in points.items():
        faults = [fault for number in numbers if (fault := fault_of(call, number))]
        by_call[call] = rng.sample(faults, len(faults))
    rounds = itertools.zip_longest(*by_call.values())
    chosen = [fault for same_rank in rounds for fault in same_rank if fault is not None]
    for number, fault in enumerate(chosen):
        place = folder / str(number // KILLS_PER_STORE)
        store = place / "store" if place.exists() else new_store(place)
        tally.kills += (
            injection.run_with_fault(store, place / "acknowledged.0", fault, SAMPLES_PER_FAULT) != 0
        )
        harness.examine(store, place, tally)
        if tally.kills >= num_faults or not tally.clean:
            break
    return tally


def fill_disk(num_rounds: int, folder: Path) -> harness.Tally:
    """Write into file systems of 1 to 4 MB until they are full, then make room and look."""
    tally, mount = harness.Tally(), folder / "small"
    mount.mkdir(parents=True)
    for size in range(num_rounds):
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={1 + size % 4}m", "tmpfs", str(mount)], check=True
        )
        try:
            acknowledged = folder / "acknowledged.0"
            acknowledged.unlink(missing_ok=True)
            store = new_store(mount)
            status = os.waitpid(harness.fork_worker(store, acknowledged, "0", 100_000), 0)[1]
            tally.kills += status != 0
            subprocess.run(["mount", "-o", "remount,size=64m", str(mount)], check=True)
            harness.examine(store, folder, tally)
        finally:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)
    return tally


def new_store(folder: Path) -> Path:
    """Create a store that has the feature set already."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "store"
    with FeatureStore.create(store).writer(harness.FEATURE_SET):
        return store


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300, help="random kills of one writer")
    parser.add_argument("--together", type=int, default=120, help="random kills of three writers at once")
    parser.add_argument("--calls", type=int, default=220, help="kills at chosen system calls")
    parser.add_argument("--errors", type=int, default=80, help="injected ENOSPC and EIO")
    parser.add_argument("--full-disks", type=int, default=8, help="really full file systems (needs root)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    seed = given.seed
    series: list[Series] = [
        ("random kill, 1 writer", given.kills, lambda d: kill_at_random(given.kills, 1, d, seed)),
        ("random kill, 3 writers", given.together, lambda d: kill_at_random(given.together, 3, d, seed)),
    ]
    if injection.strace_works():
        series += [
            ("kill at a system call", given.calls, lambda d: kill_at_calls(given.calls, d, seed)),
            ("ENOSPC or EIO injected", given.errors, lambda d: fail_at_calls(given.errors, d, seed)),
        ]
    if os.geteuid() == 0:
        series.append(("full file system", given.full_disks, lambda d: fill_disk(given.full_disks, d)))
    return report({name: run for name, count, run in series if count}, given.output)


def report(series: dict[str, Callable[[Path], harness.Tally]], output: Path | None) -> int:
    rows = []
    print(f"{'what':26}{'faults':>8}{'acknowledged':>14}{'lost':>6}{'wrong':>7}{'doubled rows':>14}{'s':>7}")
    for name, run in series.items():
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            tally = run(Path(folder))
            row = {
                "what": name,
                "faults": tally.kills,
                "acknowledged": tally.acknowledged,
                "lost": len(tally.lost),
                "wrong": len(tally.wrong),
                "doubled": tally.num_duplicates,
                "s": round(time.monotonic() - start, 1),
            }
        rows.append(row)
        print(
            f"{name:26}{row['faults']:>8}{row['acknowledged']:>14}{row['lost']:>6}{row['wrong']:>7}"
            f"{row['doubled']:>14}{row['s']:>7}",
            flush=True,
        )
    if output:
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "hdf5": h5py.version.hdf5_version,
            "system": platform.platform(),
        }
        output.write_text(json.dumps({"rows": rows, "versions": versions}, indent=2) + "\n")
    return 1 if any(row["lost"] or row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
