"""Shuffled batches from the feature store against other layouts, in one run, pair by pair.

    python benchmarks/store_read.py                       # 38 KB a sample, float32
    python benchmarks/store_read.py --samples 2000 --shortest 250 --longest 750 --width 768 --dtype float16

Every system copies the same batches, in the same order, into a reused padded buffer; systems alternate
within a round, and a ratio is the median over rounds of the flat memmap's time to the system's in the same
round. Times are CPU seconds of the one thread: everything is in memory, and other work on the machine then
matters less.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import store_common as common


def ours(corpus: common.Corpus, folder: Path, batch_size: int, verify: str, dtype: str) -> common.ReadBatch:
    reader = common.open_reader(folder / "store", verify=verify)
    buffer = np.empty((batch_size, int(reader.lengths.max()), corpus.width), dtype)
    return lambda rows: reader.read(rows, out=buffer).values


def pickle_in_ram(corpus: common.Corpus, folder: Path, batch_size: int) -> common.ReadBatch:
    path = folder / "list.pkl"
    if not path.exists():
        lengths = corpus.lengths()
        with path.open("wb") as file:
            pickle.dump([corpus.values(n, length) for n, length in enumerate(lengths)], file, protocol=4)
    with path.open("rb") as file:
        arrays = pickle.load(file)
    buffer = np.empty((batch_size, corpus.longest, corpus.width), corpus.dtype)
    return lambda rows: common.fill(buffer, [arrays[row] for row in rows])


def h5py_per_sample(corpus: common.Corpus, folder: Path, batch_size: int) -> common.ReadBatch:
    path = folder / "per_sample.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            for number, length in enumerate(corpus.lengths()):
                file.create_dataset(str(number), data=corpus.values(number, length))
    file = h5py.File(path, "r")
    buffer = np.empty((batch_size, corpus.longest, corpus.width), corpus.dtype)
    return lambda rows: common.fill(buffer, [file[str(row)][()] for row in rows])


def h5py_slices(corpus: common.Corpus, folder: Path, batch_size: int) -> common.ReadBatch:
    path = folder / "contiguous.h5"
    offsets = np.concatenate([[0], np.cumsum(corpus.lengths())]).tolist()
    if not path.exists():
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("values", (offsets[-1], corpus.width), corpus.dtype)
            for number, length in enumerate(corpus.lengths()):
                dataset[offsets[number] : offsets[number + 1]] = corpus.values(number, length)
    dataset = h5py.File(path, "r")["values"]
    buffer = np.empty((batch_size, corpus.longest, corpus.width), corpus.dtype)
    return lambda rows: common.fill(buffer, [dataset[offsets[row] : offsets[row + 1]] for row in rows])


def lmdb_records(corpus: common.Corpus, folder: Path, batch_size: int) -> common.ReadBatch:
    import lmdb

    path = folder / "lmdb"
    if not path.exists():
        with (
            lmdb.open(str(path), map_size=4 * corpus.num_bytes + (1 << 28)) as env,
            env.begin(write=True) as write,
        ):
            for number, length in enumerate(corpus.lengths()):
                write.put(b"%09d" % number, corpus.values(number, length).tobytes())
    env = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
    transaction = env.begin(buffers=True)
    buffer = np.empty((batch_size, corpus.longest, corpus.width), corpus.dtype)

    def read(rows: common.Sequence[int]) -> np.ndarray:
        stored = (np.frombuffer(transaction.get(b"%09d" % row), corpus.dtype) for row in rows)
        return common.fill(buffer, [array.reshape(-1, corpus.width) for array in stored])

    return read


def arrow_ipc(corpus: common.Corpus, folder: Path, batch_size: int) -> common.ReadBatch:
    import pyarrow as pa

    path = folder / "rows.arrow"
    if not path.exists():
        lengths = corpus.lengths()
        offsets = np.concatenate([[0], np.cumsum(lengths)]) * corpus.width
        flat = np.concatenate([corpus.values(n, length).ravel() for n, length in enumerate(lengths)])
        column = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(flat))
        table = pa.table({"values": column})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    column = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["values"].chunk(0)
    buffer = np.empty((batch_size, corpus.longest, corpus.width), corpus.dtype)

    def read(rows: common.Sequence[int]) -> np.ndarray:
        stored = (column[row].values.to_numpy() for row in rows)
        return common.fill(buffer, [array.reshape(-1, corpus.width) for array in stored])

    return read


def measure(corpus: common.Corpus, folder: Path, batch_size: int, rounds: int) -> list[dict[str, Any]]:
    common.build_store(corpus, folder / "store")
    common.build_flat(corpus, folder / "flat")
    systems = {
        "flat memmap (limit)": common.flat_memmap(corpus, folder / "flat", batch_size),
        "msakit": ours(corpus, folder, batch_size, "first", corpus.dtype),
        "msakit, as float32": ours(corpus, folder, batch_size, "first", "float32"),
        "msakit, verify always": ours(corpus, folder, batch_size, "always", corpus.dtype),
        "pickle in RAM": pickle_in_ram(corpus, folder, batch_size),
        "LMDB": lmdb_records(corpus, folder, batch_size),
        "Arrow IPC": arrow_ipc(corpus, folder, batch_size),
        "h5py, one array, slices": h5py_slices(corpus, folder, batch_size),
        "h5py, a dataset a sample": h5py_per_sample(corpus, folder, batch_size),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    rng = np.random.default_rng(1)
    expected = systems["flat memmap (limit)"](range(batch_size)).copy()
    for name, read in systems.items():
        np.testing.assert_array_equal(read(range(batch_size)), expected, err_msg=name)
        for start in range(0, corpus.num_samples, batch_size):  # warm, and every checksum seen once
            read(range(start, min(start + batch_size, corpus.num_samples)))
    for _ in range(rounds):
        order = rng.permutation(corpus.num_samples)
        batches = [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
        for name, read in systems.items():
            start_s = time.process_time()
            for rows in batches:
                read(rows)
            seconds[name].append(time.process_time() - start_s)
    limit, mine = seconds["flat memmap (limit)"], seconds["msakit"]
    return [
        {
            "system": name,
            "samples/s": corpus.num_samples / float(np.median(times)),
            "of the limit": common.median_ratio(times, limit),
            "msakit is x faster": common.median_ratio(mine, times),
        }
        for name, times in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_corpus_options(parser)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    corpus = common.corpus_of(given)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(corpus, Path(folder), given.batch_size, given.rounds)
    size = corpus.num_bytes / corpus.num_samples / 1e3
    what = f"{given.samples} samples of {size:.0f} KB, {given.dtype}"
    title = f"Warm shuffled batches of {given.batch_size}: {what}"
    common.report(title, rows, given.output)


if __name__ == "__main__":
    main()
