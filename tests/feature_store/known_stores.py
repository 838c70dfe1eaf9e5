"""Small stores of known content."""

from __future__ import annotations

import numpy as np

from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, digest_bytes, sample_key

AUDIO = FeatureSet("audio", "prosody@1", 6, "float32", frame_shift_s=0.01, parameters={"num_mfcc": 13})
VISION = FeatureSet("vision", "faces@2", 3, "float16", frame_shift_s=0.04)


def key_of(name: str) -> bytes:
    """Key of the clip called `name`."""
    return sample_key(digest_bytes(name.encode()))


def values_of(name: str, width: int) -> np.ndarray:
    """Content of a clip's features, float32 [T, width], exact in float16."""
    rng = np.random.default_rng(int.from_bytes(name.encode()[-4:], "little") + width)
    return rng.integers(-512, 512, (int(rng.integers(1, 30)), width)).astype(np.float32) / 64


def fill(store: FeatureStore, names: list[str], *, without_vision: tuple[str, ...] = ()) -> SampleTable:
    """Write audio and vision features of `names` and return the (unwritten) table."""
    with store.writer(AUDIO, provenance={"host": "here"}) as audio, store.writer(VISION) as vision:
        for name in names:
            audio.put(key_of(name), values_of(name, 6), meta={"name": name})
            if name not in without_vision:
                vision.put(key_of(name), values_of(name, 3))
    samples = [
        Sample(
            id=name,
            split=("train", "train", "valid", "test")[number % 4],
            text=f"text of {name}",
            label=number / 4 - 1,
            speaker=f"s{number % 3}",
            dialogue=f"d{number // 4}",
            utterance=number % 4,
            language="en",
            features={"audio": key_of(name)} | ({} if name in without_vision else {"vision": key_of(name)}),
            extra={"rating": number * 0.5, "take": number, "place": "left"},
        )
        for number, name in enumerate(names)
    ]
    return SampleTable.from_samples(
        samples, {"audio": AUDIO.fingerprint, "vision": VISION.fingerprint}, {"made": "by hand"}
    )


NAMES = [f"clip{number:02d}" for number in range(12)]
