"""Features that know the labels of the training split, and features that only predict them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, digest_bytes, sample_key
from msakit.feature_store.doctor import check_dataset

VISION = FeatureSet("vision", "network@1", 8)
SPLITS = ["train"] * 400 + ["valid"] * 50 + ["test"] * 200


def make_store(folder: Path, known: set[str], *, classes: bool = False, skill: float = 0.0) -> FeatureStore:
    """One frame a sample: noise, and in one column the label, in the splits of `known` or else by `skill`."""
    random = np.random.default_rng(0)
    store, samples = FeatureStore.create(folder / "store"), []
    with store.writer(VISION) as writer:
        for number, split in enumerate(SPLITS):
            rating = float(random.uniform(-3, 3))
            frame = random.normal(size=(1, 8)).astype(np.float32)
            frame[0, 3] += rating * (1.0 if split in known else skill)
            key = sample_key(digest_bytes(frame.tobytes()))
            writer.put(key, frame)
            label = {"label_name": "good" if rating > 0 else "bad"} if classes else {"label": rating}
            samples.append(
                Sample(id=f"s{number}", split=split, text=f"text {number}", features={"vision": key}, **label)
            )
    store.write_table("corpus", SampleTable.from_samples(samples, {"vision": VISION.fingerprint}))
    return store


def fitted(store: FeatureStore) -> list[str]:
    """Messages of the finding."""
    return [
        item.message for item in check_dataset(store, "corpus").findings if item.code == "fitted-features"
    ]


@pytest.mark.parametrize("classes", [False, True])
def test_features_that_know_the_labels_of_train_are_found(tmp_path: Path, classes: bool) -> None:
    [message] = fitted(make_store(tmp_path, {"train", "valid"}, classes=classes))
    assert "of the other half and" in message


@pytest.mark.parametrize("skill", [0.0, 0.3, 1.0])
def test_features_that_predict_every_split_alike_are_not(tmp_path: Path, skill: float) -> None:
    assert not fitted(make_store(tmp_path, set(), skill=skill))


def test_features_that_are_somewhat_better_on_train_are_not(tmp_path: Path) -> None:
    assert not fitted(make_store(tmp_path, {"train"}, skill=0.6))
