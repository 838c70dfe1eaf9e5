"""Data, references and tables shared by the feature store's benchmarks."""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import msakit
from msakit.feature_store import (
    FeatureReader,
    FeatureSet,
    FeatureStore,
    Sample,
    SampleTable,
    digest_bytes,
    sample_key,
)

Batch = np.ndarray
ReadBatch = Callable[[Sequence[int]], Batch]


@dataclass(frozen=True)
class Corpus:
    """Synthetic ragged features, standard normal: what they hold does not matter to these readers."""

    num_samples: int
    shortest: int
    longest: int
    width: int
    dtype: str
    seed: int = 0

    def lengths(self) -> np.ndarray:
        """Frames of each sample, int64 [N]."""
        return np.random.default_rng(self.seed).integers(self.shortest, self.longest + 1, self.num_samples)

    def values(self, number: int, length: int) -> np.ndarray:
        """Features of one sample [T, D]."""
        rng = np.random.default_rng((self.seed, number))
        return rng.standard_normal((int(length), self.width), np.float32).astype(self.dtype)

    @property
    def feature_set(self) -> FeatureSet:
        """The feature set they are stored as."""
        return FeatureSet("audio", "benchmark@1", self.width, self.dtype, frame_shift_s=0.01)

    @property
    def num_bytes(self) -> int:
        """Bytes of all values."""
        return int(self.lengths().sum()) * self.width * np.dtype(self.dtype).itemsize


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    """The shape of the corpus; the default is 39 KB a sample."""
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--shortest", type=int, default=20, help="frames")
    parser.add_argument("--longest", type=int, default=280, help="frames")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--dtype", default="float32")


def corpus_of(given: argparse.Namespace) -> Corpus:
    """The corpus those options describe."""
    return Corpus(given.samples, given.shortest, given.longest, given.width, given.dtype)


def key_of(number: int) -> bytes:
    return sample_key(digest_bytes(b"%d" % number))


def build_store(corpus: Corpus, folder: Path) -> None:
    store = FeatureStore.open_or_create(folder)
    with store.writer(corpus.feature_set, durability="os") as writer:
        for number, length in enumerate(corpus.lengths()):
            writer.put(key_of(number), corpus.values(number, length))
    samples = [Sample(str(n), "train", features={"audio": key_of(n)}) for n in range(corpus.num_samples)]
    store.write_table("all", SampleTable.from_samples(samples, {"audio": corpus.feature_set.fingerprint}))


def open_reader(folder: Path, **options: Any) -> FeatureReader:
    store = FeatureStore.open(folder)
    return store.reader(store.table("all"), "audio", **options)


def build_flat(corpus: Corpus, path: Path) -> None:
    with path.open("wb") as file:
        for number, length in enumerate(corpus.lengths()):
            file.write(corpus.values(number, length).tobytes())


def fill(buffer: np.ndarray, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """What every reference does with a batch: copy into a reused padded buffer, zero the rest."""
    longest = max(len(array) for array in arrays)
    batch = buffer[: len(arrays), :longest]
    for target, array in zip(batch, arrays, strict=True):
        target[: len(array)] = array
        target[len(array) :] = 0
    return batch


def flat_memmap(corpus: Corpus, path: Path, batch_size: int) -> ReadBatch:
    """The limit: one flat file, mapped, viewed as a plain array."""
    lengths = corpus.lengths()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    flat = np.frombuffer(mapped, corpus.dtype).reshape(-1, corpus.width)
    buffer = np.empty((batch_size, int(lengths.max()), corpus.width), corpus.dtype)
    return lambda rows: fill(buffer, [flat[offsets[row] : offsets[row + 1]] for row in rows])


def evict(paths: Sequence[Path]) -> None:
    """Drop our own files from the page cache."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def resident_share(path: Path) -> float:
    """Share of a file's pages that is in memory."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    view = np.frombuffer(mapped, np.uint8)
    pages = -(-len(view) // mmap.PAGESIZE)
    state = (ctypes.c_ubyte * pages)()
    ctypes.CDLL(None).mincore(ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(len(view)), state)
    return float(np.mean(np.frombuffer(state, np.uint8) & 1))


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process: what the page cache cannot take back."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def median_ratio(ours: Sequence[float], reference: Sequence[float]) -> float:
    """Median over rounds of reference seconds to our seconds: above 1 is faster than the reference."""
    return statistics.median(r / o for o, r in zip(ours, reference, strict=True))


def machine() -> dict[str, str]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "msakit": msakit.__version__,
    }


def report(title: str, rows: Sequence[dict[str, Any]], output: Path | None) -> None:
    """Print a table of rows with the same keys and write them as JSON."""
    where = machine()
    print(
        f"{title}\n{where['cpu']}, {where['cores']} cores, load {where['load']}, Python {where['python']}, "
        f"numpy {where['numpy']}, h5py {where['h5py']}\n"
    )
    columns = list(rows[0])
    texts = [[format_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(text[i]) for text in texts)) for i, column in enumerate(columns)]
    for line in [columns, *texts]:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        print("  ".join(cells))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"title": title, "machine": where, "rows": list(rows)}, indent=2) + "\n")


def format_cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
