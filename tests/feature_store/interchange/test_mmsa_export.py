from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from feature_store.interchange.corpora import mmsa_corpus, mse_split, write_csd, write_pickle

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.interchange import ImportOptions, export_mmsa, import_files


def _load(path: Path) -> dict:
    return pickle.loads(path.read_bytes())  # written by this test itself


def _assert_same(left: object, right: object, where: str) -> None:
    if isinstance(left, dict):
        assert list(left) == list(right), where
        for key, value in left.items():
            _assert_same(value, right[key], f"{where}.{key}")
    elif isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape), where
        assert left.tobytes() == right.tobytes(), where
    else:
        assert left == right, where


def _odd_corpus() -> dict:
    corpus = mmsa_corpus(vision_side="front")
    corpus["train"]["audio"][2, 0, 0] = -np.inf
    corpus["test"]["vision"][1] = 0
    corpus["test"]["vision_lengths"][1] = 1
    corpus["train"]["audio"][3] = 1.0
    corpus["train"]["audio_lengths"][3] = 4
    corpus["valid"]["id"][1] = corpus["valid"]["id"][0]
    corpus["valid"]["audio"][0] = np.nan
    return corpus


def test_export_restores_what_was_imported(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus(vision_side="front")
    for split in corpus.values():
        split["vision"] = split["vision"].astype(np.float32).astype(np.float64)
    import_files(store, [str(write_pickle(tmp_path / "in.pkl", corpus))], ImportOptions("corpus"))
    export_mmsa(store, "corpus", tmp_path / "out.pkl")
    exported = _load(tmp_path / "out.pkl")
    for split, source in corpus.items():
        found = exported[split]
        for key in ("audio", "vision", "text", "text_bert", "regression_labels", "regression_labels_T"):
            assert found[key].dtype == source[key].dtype, key
            np.testing.assert_array_equal(found[key], source[key], err_msg=f"{split}.{key}")
        for key in ("id", "audio_lengths", "vision_lengths"):
            assert found[key] == source[key]
        assert found["raw_text"] == source["raw_text"].tolist()
        assert found["annotations"] == source["annotations"].tolist()
        np.testing.assert_array_equal(found["classification_labels"], source["classification_labels"])


@pytest.mark.parametrize("make", [mmsa_corpus, _odd_corpus])
def test_export_import_export_is_the_identity(tmp_path: Path, make) -> None:
    first, second = FeatureStore.create(tmp_path / "one"), FeatureStore.create(tmp_path / "two")
    options = ImportOptions("corpus", nonfinite="keep")
    import_files(first, [str(write_pickle(tmp_path / "in.pkl", make()))], options)
    export_mmsa(first, "corpus", tmp_path / "first.pkl")
    import_files(second, [str(tmp_path / "first.pkl")], options)
    export_mmsa(second, "corpus", tmp_path / "second.pkl")
    _assert_same(_load(tmp_path / "first.pkl"), _load(tmp_path / "second.pkl"), "export")


def test_import_of_an_export_equals_the_store(tmp_path: Path) -> None:
    first, second = FeatureStore.create(tmp_path / "one"), FeatureStore.create(tmp_path / "two")
    options = ImportOptions("corpus", nonfinite="keep", language="zh")
    import_files(first, [str(write_pickle(tmp_path / "in.pkl", _odd_corpus()))], options)
    export_mmsa(first, "corpus", tmp_path / "out.pkl")
    import_files(second, [str(tmp_path / "out.pkl")], options)
    one, two = first.table("corpus"), second.table("corpus")
    for name, column in one.columns().items():
        np.testing.assert_array_equal(np.asarray(two.columns()[name]), np.asarray(column), err_msg=name)
    assert set(one.features) == set(two.features)
    for modality, item in one.features.items():
        other = two.features[modality]
        assert item.fingerprint == other.fingerprint
        np.testing.assert_array_equal(item.keys, other.keys)
        np.testing.assert_array_equal(item.present, other.present)


def test_dialogues_and_classes_survive_the_round_trip(tmp_path: Path) -> None:
    first, second = FeatureStore.create(tmp_path / "one"), FeatureStore.create(tmp_path / "two")
    samples = mse_split(5)
    for number, sample in enumerate(samples):
        sample |= {"speaker": f"S{number % 2}", "dialogue": "d0", "utterance": number}
    options = ImportOptions("meld")
    import_files(first, [f"train={write_pickle(tmp_path / 'in.pkl', samples)}"], options)
    report = export_mmsa(first, "meld", tmp_path / "out.pkl")
    assert any("no text features" in note for note in report.notes)
    import_files(second, [str(tmp_path / "out.pkl")], options)
    one, two = first.table("meld"), second.table("meld")
    assert (two.label_name, two.speaker, two.dialogue) == (one.label_name, one.speaker, one.dialogue)
    assert two.utterance.tolist() == [0, 1, 2, 3, 4]
    assert two.feature("vision").present.tolist() == [True] * 4 + [False]


def test_csd_exports_with_times_and_further_labels(tmp_path: Path) -> None:
    first, second = FeatureStore.create(tmp_path / "one"), FeatureStore.create(tmp_path / "two")
    borders = np.array([[0.0, 1.0], [1.0, 2.5]])
    labels = write_csd(tmp_path / "l.csd", "Labels", {"v": (np.array([[1.5, 0.0], [-2.0, 1.0]]), borders)})
    audio = write_csd(
        tmp_path / "a.csd",
        "COVAREP",
        {"v": (np.arange(6.0).reshape(3, 2), np.array([[0, 1], [1, 2], [2, 2.5]]))},
    )
    import_files(first, [str(labels), str(audio)], ImportOptions("mosi", split="train"))
    export_mmsa(first, "mosi", tmp_path / "out.pkl")
    import_files(second, [str(tmp_path / "out.pkl")], ImportOptions("mosi"))
    table = second.table("mosi")
    assert table.start_s.tolist() == [0.0, 1.0]
    assert table.end_s.tolist() == [1.0, 2.5]
    assert table.extra["label_joy"].tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(second.reader(table, "audio").read_one(1), [[2, 3], [4, 5]])


def test_an_existing_file_is_never_overwritten(store: FeatureStore, tmp_path: Path) -> None:
    import_files(store, [str(write_pickle(tmp_path / "in.pkl", mmsa_corpus()))], ImportOptions("corpus"))
    before = (tmp_path / "in.pkl").read_bytes()
    with pytest.raises(StoreError, match=r"in\.pkl exists"):
        export_mmsa(store, "corpus", tmp_path / "in.pkl")
    assert (tmp_path / "in.pkl").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_an_unknown_dataset_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="mosi"):
        export_mmsa(store, "mosi", tmp_path / "out.pkl")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    "MSAKIT_MMSA_PYTHON" not in os.environ, reason="MSAKIT_MMSA_PYTHON names no Python with MMSA"
)
def test_mmsa_trains_on_an_export(store: FeatureStore, tmp_path: Path) -> None:
    """The published MMSA package trains on an exported file; it needs CUDA only because it asks for it."""
    import_files(store, [str(write_pickle(tmp_path / "in.pkl", mmsa_corpus()))], ImportOptions("mosi"))
    export_mmsa(store, "mosi", tmp_path / "mosi.pkl")
    models, results, logs = (str(tmp_path / name) for name in ("models", "r", "logs"))
    script = (
        "import torch\n"
        "torch.cuda.set_device = lambda device: None\n"
        "from MMSA import MMSA_run, get_config_regression\n"
        "config = get_config_regression('ef_lstm', 'mosi')\n"
        f"config['featurePath'] = {str(tmp_path / 'mosi.pkl')!r}\n"
        "config['early_stop'] = 1\n"
        f"folders = dict(model_save_dir={models!r}, res_save_dir={results!r}, log_dir={logs!r})\n"
        "MMSA_run('ef_lstm', 'mosi', config=config, seeds=[1], gpu_ids=[], num_workers=0, **folders)\n"
    )
    done = subprocess.run(
        [os.environ["MSAKIT_MMSA_PYTHON"], "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "r" / "normal" / "mosi.csv").is_file()
