"""Writers that are killed, and the check that nothing they acknowledged is gone.

A worker puts samples 0, 1, 2, ... of a known content and notes each number in a file outside the store once
`put` has returned. Run as a script it is one such worker, for fault injection from outside.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msakit.feature_store import FeatureSet, FeatureStore, StoreError, WriterOptions, digest_bytes, sample_key

WIDTH = 8
FEATURE_SET = FeatureSet("audio", "known@1", WIDTH, "float32", frame_shift_s=0.01)
OPTIONS = WriterOptions(shard_bytes=24_000, shard_samples=40)


@dataclass
class Tally:
    """What a series of crashes did."""

    kills: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    num_duplicates: int = 0
    examined: dict[Path, int] = field(default_factory=dict)
    """Samples acknowledged so far, by store."""

    @property
    def clean(self) -> bool:
        """Whether nothing acknowledged was lost and nothing read back wrong."""
        return not self.lost and not self.wrong


def key_of(name: str) -> bytes:
    """Key of the sample called `name`."""
    return sample_key(digest_bytes(name.encode()))


def values_of(name: str) -> np.ndarray:
    """Content of the sample called `name`, float32 [T, 8]."""
    seed = int.from_bytes(digest_bytes(name.encode())[:4], "little")
    rng = np.random.default_rng(seed)
    return rng.standard_normal((int(rng.integers(1, 40)), WIDTH)).astype(np.float32)


def work(store: Path, acknowledged: Path, worker: str, num_samples: int) -> None:
    """Put samples, noting each one once it is acknowledged; go on where an earlier worker was killed."""
    done = len(read_acknowledged(acknowledged))
    fd = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with FeatureStore.open(store).writer(FEATURE_SET, OPTIONS) as writer:
        for number in range(done, done + num_samples):
            name = f"{worker}:{number}"
            writer.put(key_of(name), values_of(name), meta={"name": name})
            os.write(fd, f"{name}\n".encode())


def read_acknowledged(path: Path) -> list[str]:
    """Names of the samples that were acknowledged; an unfinished last line does not count."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def fork_worker(store: Path, acknowledged: Path, worker: str, num_samples: int) -> int:
    """Start a worker in a forked child and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work(store, acknowledged, worker, num_samples)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child must never return into the parent's code
        os._exit(1)


def kill_randomly(
    store: Path, folder: Path, rng: random.Random, *, num_workers: int, longest_s: float
) -> int:
    """Run workers at once, kill each at a random moment, return how many were killed while running."""
    pids = [fork_worker(store, folder / f"acknowledged.{n}", str(n), 100_000) for n in range(num_workers)]
    kills = 0
    for pid in pids:
        time.sleep(rng.uniform(0.001, longest_s / num_workers))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        kills += os.WIFSIGNALED(status)
    return kills


def examine(store: Path, folder: Path, tally: Tally) -> None:
    """Open the store as the next user would and compare every sample with what it must be."""
    opened = FeatureStore.open(store)
    with opened.writer(FEATURE_SET, OPTIONS):
        pass
    opened.refresh()
    index = opened.index(FEATURE_SET.fingerprint)
    names = [name for path in sorted(folder.glob("acknowledged.*")) for name in read_acknowledged(path)]
    tally.acknowledged += len(names) - tally.examined.get(store, 0)
    tally.examined[store] = len(names)
    tally.num_duplicates = max(tally.num_duplicates, index.num_duplicates)
    keys = np.frombuffer(b"".join(map(key_of, names)), np.uint8).reshape(-1, 16)
    for name, row in zip(names, index.find(keys).tolist(), strict=True):
        if row < 0:
            tally.lost.append(name)
    known = {key_of(name): name for name in names}
    tally.wrong += compare_all(opened, known)


def compare_all(store: FeatureStore, known: dict[bytes, str]) -> list[str]:
    """Names (or keys) of stored samples whose values or metadata are not what was put."""
    import json

    from msakit.feature_store.disk.rows import RowSource

    index = store.index(FEATURE_SET.fingerprint)
    rows = RowSource(index).rows_of(index.keys)
    wrong = []
    metas, values = rows.fields["meta"].buffers, rows.fields["audio"].buffers
    for key, meta, stored in zip(rows.keys, metas, values, strict=True):
        # A sample written but not acknowledged may be there; it must be whole all the same.
        name = json.loads(bytes(meta))["name"]
        expected = known.get(key, name)
        if name != expected or key != key_of(name) or bytes(stored) != values_of(name).tobytes():
            wrong.append(expected)
    return wrong


def main() -> int:
    """Run one worker."""
    parser = argparse.ArgumentParser(
        description="Put known samples into a store, noting each acknowledged one."
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("acknowledged", type=Path)
    parser.add_argument("--worker", default="0")
    parser.add_argument("--samples", type=int, default=100)
    arguments = parser.parse_args()
    try:
        work(arguments.store, arguments.acknowledged, arguments.worker, arguments.samples)
    except StoreError as error:
        print(error)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
