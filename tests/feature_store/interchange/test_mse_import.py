from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_store.interchange.corpora import mse_split, write_pickle

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.interchange import ImportOptions, import_files


def test_one_file_a_split_by_name(store: FeatureStore, tmp_path: Path) -> None:
    parts = {"train": mse_split(5), "valid": mse_split(2, seed=1), "test": mse_split(3, seed=2)}
    files = [str(write_pickle(tmp_path / f"meld_{name}.pkl", samples)) for name, samples in parts.items()]
    report = import_files(store, files[::-1], ImportOptions("meld", language="en"))
    table = store.table("meld")
    assert (report.format, table.splits()) == ("mse", {"train": 5, "valid": 2, "test": 3})
    assert table.id[:6] == (
        "train-00000",
        "train-00001",
        "train-00002",
        "train-00003",
        "train-00004",
        "valid-00000",
    )
    assert table.label_name[:3] == ("joy", "anger", "joy")
    assert np.isnan(table.label).all()
    audio, vision = store.reader(table, "audio"), store.reader(table, "vision")
    row = 0
    for samples in parts.values():
        for number, sample in enumerate(samples):
            features = sample["features"]
            assert table.text[row] == features["text"]
            np.testing.assert_array_equal(audio.read_one(row), features["audio"][: features["audio_len"]])
            missing = number == len(samples) - 1
            assert bool(vision.present[row]) is not missing
            if not missing:
                np.testing.assert_array_equal(
                    vision.read_one(row), features["video"][: features["video_len"]]
                )
            row += 1


def test_a_split_may_be_named_or_inside(store: FeatureStore, tmp_path: Path) -> None:
    one = write_pickle(tmp_path / "a.pkl", mse_split(2))
    both = write_pickle(tmp_path / "b.pkl", {"dev": mse_split(2, seed=1), "test": mse_split(1, seed=2)})
    import_files(store, [f"train={one}", str(both)], ImportOptions("cherma"))
    assert store.table("cherma").splits() == {"train": 2, "valid": 2, "test": 1}


def test_chinese_classes_and_whole_numbers_are_class_names(store: FeatureStore, tmp_path: Path) -> None:
    samples = mse_split(4, classes=("愤怒", "高兴"))
    samples[0]["label"] = 3
    samples[1]["label"] = np.int64(-1)
    import_files(store, [f"train={write_pickle(tmp_path / 'a.pkl', samples)}"], ImportOptions("cherma"))
    assert store.table("cherma").label_name == ("3", "-1", "愤怒", "高兴")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[1].pop("label"), r"\[1\]: the sample has no 'label'"),
        (lambda s: s[1].pop("features"), r"\[1\]: the sample has no 'features'"),
        (lambda s: s[1]["features"].pop("audio"), r"\[1\]: the sample has no 'audio' features"),
        (lambda s: s[1]["features"].update(audio="loud"), r"\[1\]\.audio: not a numeric array"),
        (lambda s: s[1]["features"].update(audio_len="many"), "'many' is not a number"),
        (lambda s: s[1]["features"].update(audio_len=float("nan")), "lengths hold NaN"),
        (lambda s: s[1]["features"].update(video=np.zeros((2, 2, 2))), "expected .frames, features."),
    ],
)
def test_broken_samples_are_named(store: FeatureStore, tmp_path: Path, change, message: str) -> None:
    samples = mse_split(3)
    change(samples)
    file = write_pickle(tmp_path / "meld_train.pkl", samples)
    with pytest.raises(StoreError, match=message) as caught:
        import_files(store, [str(file)], ImportOptions("meld"))
    assert "meld_train.pkl" in caught.value.message


def test_a_split_given_twice_or_not_at_all_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    file = write_pickle(tmp_path / "samples.pkl", mse_split(2))
    with pytest.raises(StoreError, match="does not tell which split"):
        import_files(store, [str(file)], ImportOptions("meld"))
    with pytest.raises(StoreError, match="'train' comes twice"):
        import_files(store, [f"train={file}", f"train={file}"], ImportOptions("meld"))
    with pytest.raises(StoreError, match="'sometimes' is not a split name"):
        import_files(store, [f"sometimes={file}"], ImportOptions("meld"))


def test_other_layouts_are_described(store: FeatureStore, tmp_path: Path) -> None:
    file = write_pickle(tmp_path / "odd.pkl", {"features": [1], "labels": [2]})
    with pytest.raises(StoreError, match=r"odd\.pkl: a pickle of unknown layout \(features, labels\)"):
        import_files(store, [str(file)], ImportOptions("x"))
