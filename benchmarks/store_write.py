"""Writing: the journal alone, journal and seal, and what others need for the same data, in one run.

    python benchmarks/store_write.py

Every system ends with its data synced to the disk. Ratios are medians over rounds against one-shot HDF5: one
contiguous array written in one go, which nothing that may be killed can do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import store_common as common

from msakit.feature_store import FeatureStore

Content = list[np.ndarray]


def sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def one_shot(corpus: common.Corpus, content: Content, folder: Path) -> None:
    with h5py.File(folder / "one.h5", "w") as file:
        dataset = file.create_dataset("values", (sum(map(len, content)), corpus.width), corpus.dtype)
        start = 0
        for values in content:
            dataset[start : start + len(values)] = values
            start += len(values)
    sync(folder / "one.h5")


def per_sample(corpus: common.Corpus, content: Content, folder: Path) -> None:
    with h5py.File(folder / "many.h5", "w") as file:
        for number, values in enumerate(content):
            file.create_dataset(str(number), data=values)
    sync(folder / "many.h5")


def per_sample_flushed(corpus: common.Corpus, content: Content, folder: Path) -> None:
    with h5py.File(folder / "flushed.h5", "w") as file:
        for number, values in enumerate(content):
            file.create_dataset(str(number), data=values)
            file.flush()
    sync(folder / "flushed.h5")


def npy_files(corpus: common.Corpus, content: Content, folder: Path) -> None:
    (folder / "npy").mkdir()
    for number, values in enumerate(content):
        np.save(folder / "npy" / f"{number}.npy", values)
        sync(folder / "npy" / f"{number}.npy")


def lmdb_batches(corpus: common.Corpus, content: Content, folder: Path) -> None:
    import lmdb

    with lmdb.open(str(folder / "lmdb"), map_size=4 * corpus.num_bytes + (1 << 28)) as env:
        for start in range(0, len(content), 256):
            with env.begin(write=True) as write:
                for number in range(start, min(start + 256, len(content))):
                    write.put(b"%09d" % number, content[number].tobytes())


def journal_only(corpus: common.Corpus, content: Content, folder: Path) -> None:
    writer = FeatureStore.create(folder / "journal").writer(corpus.feature_set)
    for number, values in enumerate(content):
        writer.put(common.key_of(number), values)
    writer.flush()


def journal_synced_each(corpus: common.Corpus, content: Content, folder: Path) -> None:
    writer = FeatureStore.create(folder / "each").writer(corpus.feature_set, durability="each")
    for number, values in enumerate(content):
        writer.put(common.key_of(number), values)
    writer.flush()


def sealed(corpus: common.Corpus, content: Content, folder: Path) -> None:
    with FeatureStore.create(folder / "sealed").writer(corpus.feature_set) as writer:
        for number, values in enumerate(content):
            writer.put(common.key_of(number), values)


SYSTEMS: dict[str, Callable[[common.Corpus, Content, Path], None]] = {
    "one-shot HDF5 (not crash-safe)": one_shot,
    "msakit, journal (crash-safe)": journal_only,
    "msakit, journal and seal": sealed,
    "msakit, synced at every put": journal_synced_each,
    "h5py, a dataset a sample": per_sample,
    "h5py, the same, flushed each": per_sample_flushed,
    "LMDB, 256 a transaction": lmdb_batches,
    "a .npy file each, synced": npy_files,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_corpus_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    corpus = common.corpus_of(given)
    content = [corpus.values(number, length) for number, length in enumerate(corpus.lengths())]
    seconds: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    with tempfile.TemporaryDirectory() as root:
        for _ in range(given.rounds):
            for name, write in SYSTEMS.items():
                folder = Path(root) / "round"
                folder.mkdir()
                start = time.perf_counter()
                write(corpus, content, folder)
                seconds[name].append(time.perf_counter() - start)
                shutil.rmtree(folder)
    reference = seconds["one-shot HDF5 (not crash-safe)"]
    rows: list[dict[str, Any]] = [
        {
            "system": name,
            "MB/s": corpus.num_bytes / 1e6 / float(np.median(times)),
            "puts/s": corpus.num_samples / float(np.median(times)),
            "of one-shot HDF5": common.median_ratio(times, reference),
        }
        for name, times in seconds.items()
    ]
    title = f"Writing {given.samples} samples, {corpus.num_bytes / 1e6:.0f} MB of {given.dtype}"
    common.report(title, rows, given.output)


if __name__ == "__main__":
    main()
