"""What most tests need: a registry without the user's own plugins, and a small store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry
from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, digest_bytes, sample_key

WIDTHS = {"audio": 6, "vision": 4}
SPLITS = ("train", "train", "valid", "test")
TEXTS = ("a wonderful film", "dull", "one of the worst things I saw", "fine , in a way", "great fun")


@pytest.fixture(scope="session")
def registry():
    """Shipped components only."""
    return load_registry(discover=False)


def fill_store(path: Path, *, num_samples: int = 48, widths=None, nonfinite: bool = False) -> Path:
    """A store with the regression dataset `demo` and the classification dataset `meld`.

    The label is the sign of the first audio column times a magnitude, so that it can be learnt.
    Every sixth sample has no vision.
    """
    widths = widths or WIDTHS
    generator = np.random.default_rng(7)
    store = FeatureStore.create(path)
    sets = {
        name: FeatureSet(name, f"numbers_{name}@1", width, frame_shift_s=0.1)
        for name, width in widths.items()
    }
    writers = {name: store.writer(each, nan_policy="keep") for name, each in sets.items()}
    rows, labels = [], []
    for index in range(num_samples):
        key = sample_key(digest_bytes(f"clip {index}".encode()))
        sign = 1.0 if index // 4 % 2 else -1.0
        held = ["audio", *(["vision"] if index % 6 else [])]
        for name in held:
            values = generator.normal(size=(generator.integers(2, 9), widths[name])).astype(np.float32)
            values[:, 0] = 2 * sign
            if nonfinite and index == 5:
                values[0, 1] = -np.inf
            writers[name].put(key, values)
        labels.append(sign * (1 + index % 3))
        rows.append((index, key, held))
    for writer in writers.values():
        writer.close()
    store.refresh()
    fingerprints = {name: each.fingerprint for name, each in sets.items()}
    store.write_table("demo", SampleTable.from_samples([_scored(*r, labels) for r in rows], fingerprints))
    store.write_table("meld", SampleTable.from_samples([_classed(*r, labels) for r in rows], fingerprints))
    return path


def _common(index, key, held):
    return {
        "id": f"s{index:03d}",
        "split": SPLITS[index % 4],
        "text": TEXTS[index % len(TEXTS)],
        "speaker": f"speaker {index % 2}",
        "features": dict.fromkeys(held, key),
    }


def _scored(index, key, held, labels):
    return Sample(**_common(index, key, held), label=labels[index])


def _classed(index, key, held, labels):
    name = "joy" if labels[index] > 0 else "anger"
    return Sample(
        **_common(index, key, held), label_name=name, dialogue=f"d{index // 4}", utterance=index % 4
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """48 small samples: 24 train, 12 valid, 12 test."""
    return fill_store(tmp_path_factory.mktemp("store") / "features")


def tiny_pipeline(**changes):
    """The content of a pipeline file that trains in a second."""
    content = {
        "dataset": "demo",
        "encoders": {name: {"name": "lstm", "hidden_size": 8, "output_size": 16} for name in WIDTHS},
        "fuser": "tgm",
        "injector": "pseudo2",
        "backbone": "tiny",
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "seed": 1},
    }
    return {**content, **changes}


@pytest.fixture
def resolved(registry):
    """A tiny pipeline, resolved."""
    return resolve(parse_pipeline(tiny_pipeline(), "test"), registry)


@pytest.fixture(scope="session", autouse=True)
def no_fast_bfloat16():
    """`dtype: auto` is float32 in every test, whatever the processor can do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msakit.plugins.backbones.devices.computes_bfloat16", lambda device: False)
        yield
