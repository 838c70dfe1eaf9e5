"""Memory of a whole shuffled pass and time to the first batch: the store, and the padded pickle of today.

    python benchmarks/store_memory.py
    python benchmarks/store_memory.py --gigabytes 30

The first is a set of the size of MOSEI as MMSA distributes it, unaligned and padded: 22,856 utterances of
500 frames by 74 (audio) and by 35 (vision) and 50 by 768 (text), 8.5 GB of float32, here as one array of 500
by 186. The store has no padding. With --gigabytes the store alone is built, for sizes that no memory holds.

Anonymous memory is what the page cache cannot take back; the file's own pages are the system's to drop.
Each system runs in a process of its own, its files dropped from the page cache before.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import store_common as common

from msakit.feature_store.reader import prefetched

BATCH_SIZE = 16
MOSEI = common.Corpus(22_856, 20, 500, 186, "float32")


class RepeatedCorpus(common.Corpus):
    """Samples cut from one random block: generating tens of gigabytes would take longer than the rest."""

    def values(self, number: int, length: int) -> np.ndarray:
        """Features of one sample [T, D]; the first value tells samples apart."""
        if not hasattr(self, "_block"):
            object.__setattr__(self, "_block", super().values(0, self.longest))
        values: np.ndarray = self._block[: int(length)].copy()  # type: ignore[attr-defined]
        values[0, 0], values[0, 1] = number % 1024, number // 1024
        return values


def large_corpus(num_gigabytes: float) -> RepeatedCorpus:
    """786 KB a sample, the shape of a speech encoder's frames."""
    return RepeatedCorpus(round(num_gigabytes * 1e9 / (380 * 1024 * 2)), 200, 560, 1024, "float16")


def build_pickle(corpus: common.Corpus, path: Path) -> None:
    """Write the padded array, as MMSA's feature files hold it."""
    padded = np.zeros((corpus.num_samples, corpus.longest, corpus.width), corpus.dtype)
    for number, length in enumerate(corpus.lengths()):
        padded[number, :length] = corpus.values(number, length)
    with path.open("wb") as file:
        pickle.dump({"train": {"audio": padded}}, file, protocol=4)


def store_reader(corpus: common.Corpus, folder: Path) -> tuple[Callable[[Sequence[int]], Any], Any]:
    """Open the store; return what reads a batch and what brings batches in ahead of it."""
    reader = common.open_reader(folder / "store")
    buffer = np.empty((BATCH_SIZE, corpus.longest, corpus.width), corpus.dtype)
    return lambda rows: reader.read(rows, out=buffer), lambda batches: prefetched([reader], batches)


def pickle_reader(corpus: common.Corpus, folder: Path) -> tuple[Callable[[Sequence[int]], Any], Any]:
    """Unpickle all of it, as today's loaders do."""
    with (folder / "padded.pkl").open("rb") as file:
        padded = pickle.load(file)["train"]["audio"]
    return lambda rows: padded[rows], iter


SYSTEMS = {"msakit": store_reader, "padded pickle": pickle_reader}


def child(name: str, corpus: common.Corpus, folder: Path) -> None:
    """Open, read a first batch, then a whole shuffled pass; print seconds and bytes."""
    before = common.anonymous_bytes()
    start = time.perf_counter()
    read, ahead = SYSTEMS[name](corpus, folder)
    read(np.arange(BATCH_SIZE))
    first_s = time.perf_counter() - start
    peak = common.anonymous_bytes()
    order = np.random.default_rng(0).permutation(corpus.num_samples)
    start = time.perf_counter()
    for rows in ahead(order[begin : begin + BATCH_SIZE] for begin in range(0, len(order), BATCH_SIZE)):
        read(rows)
        peak = max(peak, common.anonymous_bytes())
    print(first_s, time.perf_counter() - start, peak - before)


def measure(names: Sequence[str], given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run each system in a fresh process over cold files."""
    corpus = chosen_corpus(given)
    rows = []
    for name in names:
        common.evict([path for path in folder.rglob("*") if path.is_file()])
        command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
        command += ["--gigabytes", str(given.gigabytes)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        first_s, pass_s, peak = map(float, done.stdout.split())
        rows.append(
            {
                "system": name,
                "data MB": corpus.num_bytes / 1e6,
                "first batch s": first_s,
                "a pass MB/s": corpus.num_bytes / 1e6 / pass_s,
                "anonymous MB at most": peak / 1e6,
            }
        )
    return rows


def chosen_corpus(given: argparse.Namespace) -> common.Corpus:
    return large_corpus(given.gigabytes) if given.gigabytes else MOSEI


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=0.0, help="size of the store; default: MOSEI's")
    parser.add_argument("--folder", type=Path, help="where to put the files; default: a temporary folder")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    parser.add_argument("--child", choices=[*SYSTEMS], help=argparse.SUPPRESS)
    given = parser.parse_args()
    corpus = chosen_corpus(given)
    if given.child:
        child(given.child, corpus, given.folder)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        common.build_store(corpus, folder / "store")
        if not given.gigabytes:
            build_pickle(corpus, folder / "padded.pkl")
        rows = measure(["msakit"] if given.gigabytes else [*SYSTEMS], given, folder)
    memory_gb = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    common.report(f"A shuffled pass; this machine has {memory_gb:.0f} GB of memory", rows, given.output)


if __name__ == "__main__":
    main()
