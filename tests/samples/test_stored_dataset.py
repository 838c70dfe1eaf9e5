"""A dataset that only its own table in a store describes."""

from __future__ import annotations

import numpy as np
import pytest

from msakit.core.errors import DataError
from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, digest_bytes, sample_key
from msakit.samples.location import demo_store, locate_store
from msakit.samples.stored_dataset import describe_stored


def write_dataset(folder, name, samples):
    """A store with one dataset; every sample has the same three frames of audio, seven wide."""
    store = FeatureStore.open_or_create(folder)
    audio = FeatureSet("audio", "numbers@1", 7, frame_shift_s=0.1)
    key = sample_key(digest_bytes(b"clip"))
    with store.writer(audio) as writer:
        writer.put(key, np.ones((3, 7), np.float32))
    rows = [
        Sample(f"s{index}", "train", features={"audio": key}, **sample)
        for index, sample in enumerate(samples)
    ]
    store.refresh()
    store.write_table(name, SampleTable.from_samples(rows, {"audio": audio.fingerprint}))
    return folder


@pytest.mark.parametrize(
    ("labels", "family", "limits"),
    [([-1.0, 0.4], "sims", [-1.0, 1.0]), ([-1.2, 0.4], "mosei", [-3.0, 3.0]), ([3.0], "mosei", [-3.0, 3.0])],
)
def test_scores_decide_range_and_metrics(tmp_path, labels, family, limits):
    write_dataset(tmp_path / "feats", "mine", [{"label": value, "language": "en"} for value in labels])
    found = describe_stored(tmp_path / "feats", "mine")
    assert (found["task"], found["metrics"], found["label_range"]) == ("regression", family, limits)
    assert found["features"] == {"audio": 7}
    assert f"[{limits[0]:+.1f}, {limits[1]:+.1f}]" in found["prompts"]["task"]


def test_class_names_stand_in_the_order_of_their_index(tmp_path):
    samples = [
        {"label_name": "joy", "label": 1.0, "language": "zh"},
        {"label_name": "anger", "label": 0.0},
        {"label_name": "joy", "label": 1.0},
    ]
    write_dataset(tmp_path / "feats", "mine", samples)
    found = describe_stored(tmp_path / "feats", "mine")
    assert (found["task"], found["metrics"], found["language"]) == ("classification", "erc", "zh")
    assert found["labels"] == ["anger", "joy"]
    assert "anger:0, joy:1" in found["prompts"]["task"]


def test_names_without_an_index_stand_in_order_of_appearance(tmp_path):
    write_dataset(tmp_path / "feats", "mine", [{"label_name": name} for name in ("b", "a", "b", "")])
    assert describe_stored(tmp_path / "feats", "mine")["labels"] == ["b", "a"]


@pytest.mark.parametrize(("labels", "message"), [([7.0], r"run from 7 to 7"), ([np.nan], "no labels")])
def test_labels_that_nothing_is_defined_for_are_refused(tmp_path, labels, message):
    write_dataset(tmp_path / "feats", "mine", [{"label": value} for value in labels])
    with pytest.raises(DataError, match=message):
        describe_stored(tmp_path / "feats", "mine")


def test_a_store_without_the_dataset_says_what_it_has(tmp_path):
    write_dataset(tmp_path / "feats", "mine", [{"label": 0.0}])
    with pytest.raises(DataError, match=r"no dataset 'yours' \(it has: mine\)"):
        describe_stored(tmp_path / "feats", "yours")


def test_demo_is_the_shipped_corpus_unless_it_is_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate_store("demo") == demo_store()
    assert demo_store().is_file()
    (tmp_path / "demo").mkdir()
    assert locate_store("demo").resolve() == tmp_path / "demo"
