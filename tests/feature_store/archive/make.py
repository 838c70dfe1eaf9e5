"""Writes an archive of the current format version: a store folder, an unsealed journal and a single file.

    python tests/feature_store/archive/make.py tests/feature_store/archive/v1.0

Run it once per format version, with the release that introduced it, and never again: the point of the files
is that later releases still read them. Every value is a formula of the sample's number, see `values_of`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from msakit.feature_store import (
    FeatureSet,
    FeatureStore,
    FeatureWriter,
    Sample,
    SampleTable,
    WriterOptions,
    digest_bytes,
    sample_key,
)

SETS = {
    "audio": FeatureSet(
        "audio", "archive@1", 3, "float32", frame_shift_s=0.01, parameters={"window_s": 0.025}
    ),
    "vision": FeatureSet("vision", "archive@1", 2, "float16", frame_shift_s=0.04, weights=("ab" * 32,)),
    "pose": FeatureSet("pose", "archive@1", 2, "bfloat16"),
    "words": FeatureSet("words", "archive@1", 1, "int64", intervals=True),
}
NUM_SAMPLES = 6
ABSENT = {("vision", 4)}


def key_of(number: int) -> bytes:
    """Key of sample `number`."""
    return sample_key(digest_bytes(f"sample {number}".encode()), number * 1_000_000, (number + 1) * 1_000_000)


def values_of(modality: str, number: int) -> np.ndarray:
    """Values of a sample, multiples of 1/4 that every dtype here holds exactly; sample 5 is empty."""
    feature_set = SETS[modality]
    num_frames = 0 if number == 5 else number + 2
    values = (
        np.arange(num_frames * feature_set.width, dtype=np.float64).reshape(num_frames, feature_set.width)
        + number
    )
    return values if feature_set.dtype == "int64" else values / 4


def intervals_of(number: int) -> np.ndarray:
    """Start and end of each frame in seconds."""
    starts = np.arange(0 if number == 5 else number + 2) * 0.5
    return np.stack([starts, starts + 0.25], axis=1)


def samples() -> list[Sample]:
    """The rows of the table."""
    return [
        Sample(
            id=f"sample{n}",
            split=("train", "valid", "test")[n % 3],
            text=f"Größe {n} 好",
            label=n / 2 - 1,
            label_name=("negative", "positive")[n % 2],
            speaker=f"s{n % 2}",
            dialogue=f"d{n // 3}",
            utterance=n % 3,
            language="de",
            start_s=float(n),
            end_s=float(n + 1),
            content=digest_bytes(f"sample {n}".encode()).hex(),
            features={name: key_of(n) for name in SETS if (name, n) not in ABSENT},
            extra={"place": "left", "rating": n * 0.1, "take": n},
        )
        for n in range(NUM_SAMPLES)
    ]


def put(writer: FeatureWriter, modality: str, number: int) -> None:
    """Put one sample of one modality."""
    intervals = intervals_of(number) if SETS[modality].intervals else None
    meta = {"number": number, "who": "archive"}
    writer.put(key_of(number), values_of(modality, number), intervals=intervals, meta=meta)


def main(folder: Path) -> None:
    """Write everything."""
    store = FeatureStore.create(folder / "store")
    for modality, feature_set in SETS.items():
        options = WriterOptions(shard_samples=4, provenance={"made_by": "archive/make.py"})
        with store.writer(feature_set, options) as writer:
            for number in range(NUM_SAMPLES):
                if (modality, number) not in ABSENT:
                    put(writer, modality, number)
    fingerprints = {modality: feature_set.fingerprint for modality, feature_set in SETS.items()}
    store.write_table(
        "demo", SampleTable.from_samples(samples(), fingerprints, {"source": "archive", "range": [-1, 1.5]})
    )
    store.export_single_file(folder / "single.h5")
    unsealed = store.writer(SETS["audio"])
    put(unsealed, "audio", 100)
    unsealed._journal.close()
    for derived in (folder / "store" / "fs").glob("*/index"):
        shutil.rmtree(derived)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
