"""Growth: opening a million samples; reading from the disk.

    python benchmarks/store_scale.py open --samples 1000000
    python benchmarks/store_scale.py cold

`cold` drops its own files from the page cache before every round.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import store_common as common

from msakit.feature_store import FeatureSet, FeatureStore, SampleTable, WriterOptions
from msakit.feature_store.reader import prefetched
from msakit.feature_store.table import FeatureColumn

TINY = FeatureSet("audio", "tiny@1", 2, "float16")


def open_many(num_samples: int, folder: Path) -> list[dict[str, Any]]:
    """Write tiny samples; time writing, and the opening of store, index, table and reader."""
    keys = np.random.default_rng(0).integers(0, 256, (num_samples, 16), np.uint8)
    values = np.ones((1, 2), np.float16)
    store = FeatureStore.create(folder / "store")
    start = time.perf_counter()
    with store.writer(TINY, WriterOptions(durability="os")) as writer:
        for key in keys:
            writer.put(key.tobytes(), values)
    written_s = time.perf_counter() - start
    first = timed(lambda: FeatureStore.open(folder / "store").index(TINY.fingerprint))
    before = common.anonymous_bytes()
    opened = FeatureStore.open(folder / "store")
    index_s = timed(lambda: opened.index(TINY.fingerprint))
    grown = common.anonymous_bytes() - before
    column = FeatureColumn(TINY.fingerprint, keys, np.ones(num_samples, bool))
    table = dataclass_table(num_samples, column)
    reader_s = timed(lambda: opened.reader(table, "audio"))
    table_s = timed(lambda: opened.write_table("all", table))
    load_s = timed(lambda: opened.table("all"))
    return [
        {"what": "put, per second", "value": num_samples / written_s, "unit": "1/s"},
        {"what": "shards", "value": len(opened.index(TINY.fingerprint).shards), "unit": ""},
        {"what": "first opening, shards parsed", "value": first, "unit": "s"},
        {"what": "opening from the index", "value": index_s, "unit": "s"},
        {"what": "anonymous memory per sample and field", "value": grown / num_samples / 2, "unit": "B"},
        {"what": "joining the table to the features", "value": reader_s, "unit": "s"},
        {"what": "writing the table", "value": table_s, "unit": "s"},
        {"what": "loading the table", "value": load_s, "unit": "s"},
    ]


def dataclass_table(num_samples: int, column: FeatureColumn) -> SampleTable:
    nothing = ("",) * num_samples
    undefined = np.full(num_samples, np.nan)
    return SampleTable(
        id=tuple(map(str, range(num_samples))),
        split=("train",) * num_samples,
        text=nothing,
        label=undefined,
        label_name=nothing,
        speaker=nothing,
        dialogue=nothing,
        utterance=np.full(num_samples, -1),
        language=nothing,
        start_s=undefined,
        end_s=undefined,
        content=nothing,
        features={"audio": column},
    )


def timed(action: common.Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cold_reads(corpus: common.Corpus, folder: Path, rounds: int, batch_size: int) -> list[dict[str, Any]]:
    """Random batches right after eviction: naive mapping, prefetching, and the disk's sequential speed."""
    common.build_store(corpus, folder / "store")
    common.build_flat(corpus, folder / "flat")
    shards = sorted((folder / "store").rglob("shards/*.h5"))
    times: dict[str, list[float]] = {
        "sequential read of the file": [],
        "flat memmap": [],
        "msakit, 1 batch ahead": [],
        "msakit, 4 batches ahead": [],
    }
    rng = np.random.default_rng(0)
    residue = 0.0
    for _ in range(rounds):
        order = rng.permutation(corpus.num_samples)[: corpus.num_samples // 4]
        batches = [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
        share = corpus.lengths()[order].sum() / corpus.lengths().sum()
        common.evict([folder / "flat"])
        times["sequential read of the file"].append(timed(lambda: read_through(folder / "flat")) * share)
        common.evict([folder / "flat"])
        residue = max(residue, common.resident_share(folder / "flat"))
        limit = common.flat_memmap(corpus, folder / "flat", batch_size)
        times["flat memmap"].append(
            timed(lambda limit=limit, batches=batches: [limit(rows) for rows in batches])
        )
        del limit  # pages that are mapped cannot be evicted
        gc.collect()
        for lookahead, name in ((1, "msakit, 1 batch ahead"), (4, "msakit, 4 batches ahead")):
            common.evict(shards)
            residue = max(residue, *map(common.resident_share, shards))
            times[name].append(prefetching(corpus, folder, batches, lookahead))
            gc.collect()
    if residue > 0.02:
        raise SystemExit(
            f"{residue:.0%} of a file stayed in memory after eviction: these would not be cold reads"
        )
    disk = times["sequential read of the file"]
    return [
        {
            "system": name,
            "MB/s": corpus.num_bytes / 4e6 / float(np.median(seconds)),
            "of the disk": common.median_ratio(seconds, disk),
            "x flat memmap": common.median_ratio(seconds, times["flat memmap"]),
        }
        for name, seconds in times.items()
    ]


def prefetching(corpus: common.Corpus, folder: Path, batches: list[list[int]], lookahead: int) -> float:
    reader = common.open_reader(folder / "store")
    buffer = np.empty((len(batches[0]), corpus.longest, corpus.width), corpus.dtype)
    start = time.perf_counter()
    for rows in prefetched([reader], map(np.array, batches), lookahead):
        reader.read(rows, out=buffer)
    return time.perf_counter() - start


def read_through(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(8 << 20):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["open", "cold"])
    parser.add_argument("--samples", type=int, default=0, help="default: 1,000,000 to open, 4,000 cold")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    corpus = common.Corpus(given.samples or 4000, 20, 280, 64, "float32")
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "open":
            count = given.samples or 1_000_000
            title, rows = f"A store of {count:,} small samples", open_many(count, Path(folder))
        else:
            title = f"Cold random batches of 16 of {corpus.num_bytes / 1e6:.0f} MB"
            rows = cold_reads(corpus, Path(folder), given.rounds, 16)
    common.report(title, rows, given.output)


if __name__ == "__main__":
    main()
