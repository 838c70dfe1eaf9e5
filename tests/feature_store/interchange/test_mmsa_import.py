from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_store.interchange.corpora import SPLIT_SIZES, mmsa_corpus, write_pickle

from msakit.feature_store import FeatureStore, FeatureWriter, StoreError, StoreWriteError
from msakit.feature_store.interchange import ImportOptions, import_files
from msakit.feature_store.interchange.known_files import load_known_files


def _import(store: FeatureStore, path: Path, content: object, **options: object):
    file = write_pickle(path / "corpus.pkl", content)
    report = import_files(store, [str(file)], ImportOptions("corpus", **options))
    store.refresh()
    return report, store.table("corpus")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_pickle_protocol_gives_the_same_samples(
    store: FeatureStore, tmp_path: Path, protocol: int
) -> None:
    corpus = mmsa_corpus()
    file = write_pickle(tmp_path / "corpus.pkl", corpus, protocol)
    import_files(store, [str(file)], ImportOptions("corpus"))
    table = store.table("corpus")
    reader = store.reader(table, "audio")
    assert table.text[2] == "train says 2: café 你好"
    for row, length in enumerate(corpus["train"]["audio_lengths"]):
        np.testing.assert_array_equal(reader.read_one(row), corpus["train"]["audio"][row, :length])


@pytest.mark.parametrize("side", ["back", "front"])
def test_padding_is_removed_on_either_side(store: FeatureStore, tmp_path: Path, side: str) -> None:
    corpus = mmsa_corpus(vision_side=side)
    report, table = _import(store, tmp_path, corpus)
    reader = store.reader(table, "vision")
    row = 0
    for split, count in SPLIT_SIZES.items():
        for number in range(count):
            length = corpus[split]["vision_lengths"][number]
            padded = corpus[split]["vision"][number]
            real = padded[:length] if side == "back" else padded[len(padded) - length :]
            np.testing.assert_array_equal(reader.read_one(row), real.astype(np.float32))
            row += 1
    assert row == len(table)
    assert report.modalities["vision"]["padding"]["train"]["side"] == side
    assert report.modalities["vision"]["padding"]["train"][side] == sum(
        length < 7 for length in corpus["train"]["vision_lengths"]
    )


def test_labels_texts_and_ids_of_all_variants(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    _, table = _import(store, tmp_path, corpus, language="zh")
    valid = table.rows("valid").tolist()
    source = corpus["valid"]
    assert [table.id[row] for row in valid] == source["id"]
    assert table.splits() == SPLIT_SIZES
    np.testing.assert_array_equal(table.label[valid], source["regression_labels"].astype(np.float64))
    for key, column in (("T", "label_text"), ("A", "label_audio"), ("V", "label_vision")):
        np.testing.assert_array_equal(
            table.extra[column][valid], source[f"regression_labels_{key}"].astype(float)
        )
    assert [table.extra["annotation"][row] for row in valid] == source["annotations"].tolist()
    assert [table.extra["class_label"][row] for row in valid] == [
        str(x) for x in source["classification_labels"]
    ]
    assert [table.extra["video"][row] for row in valid] == ["validVideo0", "validVideo0", "validVideo1"]
    assert set(table.language) == {"zh"}


def test_text_tokens_are_cut_by_their_attention_mask(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    _, table = _import(store, tmp_path, corpus)
    reader = store.reader(table, "text_bert")
    for row in range(SPLIT_SIZES["train"]):
        tokens = corpus["train"]["text_bert"][row]
        np.testing.assert_array_equal(reader.read_one(row), tokens[:, tokens[1] == 1].T)


def test_frames_beyond_a_stated_length_are_kept_unless_zero(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    corpus["train"]["audio"][3] = 1.0
    corpus["train"]["audio_lengths"][3] = 4
    corpus["train"]["audio_lengths"][4] = 50
    report, table = _import(store, tmp_path, corpus)
    reader = store.reader(table, "audio")
    assert reader.lengths[3] == reader.lengths[4] == 9
    assert report.modalities["audio"]["padding"]["train"]["disagree"] == 1
    assert any("1 samples kept all their frames" in note for note in report.notes)
    assert any("1 samples state more frames" in note for note in report.notes)


def test_an_all_zero_sample_of_length_one_is_absent(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    corpus["test"]["vision"][1] = 0
    corpus["test"]["vision_lengths"][1] = 1
    _, table = _import(store, tmp_path, corpus)
    present = table.feature("vision").present
    assert np.flatnonzero(~present).tolist() == [table.id.index(corpus["test"]["id"][1])]


def test_aligned_files_without_lengths_stay_aligned(store: FeatureStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    audio, vision = np.zeros((4, 6, 2), np.float32), np.zeros((4, 6, 3), np.float32)
    for row, length in enumerate((6, 3, 4, 2)):
        audio[row, 6 - length :] = rng.normal(size=(length, 2))
        vision[row, 6 - length :] = rng.normal(size=(length, 3))
    vision[1, 3] = 0  # a frame without a face: zero in one modality only is data, not padding
    split = {
        "id": list("abcd"),
        "raw_text": list("abcd"),
        "audio": audio,
        "vision": vision,
        "regression_labels": [1.0] * 4,
    }
    _, table = _import(store, tmp_path, {"train": split})
    assert store.reader(table, "audio").lengths.tolist() == [6, 3, 4, 2]
    assert store.reader(table, "vision").lengths.tolist() == [6, 3, 4, 2]
    np.testing.assert_array_equal(store.reader(table, "vision").read_one(1), vision[1, 3:])


def test_nonfinite_values_are_refused_by_default_and_named(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    corpus["train"]["audio"][0, 0, 1] = -np.inf
    corpus["valid"]["vision"][0, 0, 2] = np.nan
    with pytest.raises(StoreError) as caught:
        _import(store, tmp_path, corpus)
    assert "audio: 0 NaN, 0 inf, 1 -inf in 1 samples (first trainVideo0$_$0)" in caught.value.message
    assert "vision: 1 NaN, 0 inf, 0 -inf in 1 samples (first validVideo0$_$0)" in caught.value.message
    assert "--nonfinite zero" in caught.value.hint
    store.refresh()
    assert store.datasets() == []
    assert store.feature_sets() == {}


@pytest.mark.parametrize(("policy", "stored"), [("keep", -np.inf), ("zero", 0.0)])
def test_nonfinite_policies(store: FeatureStore, tmp_path: Path, policy: str, stored: float) -> None:
    corpus = mmsa_corpus()
    corpus["train"]["audio"][0, 0, 1] = -np.inf
    report, table = _import(store, tmp_path, corpus, nonfinite=policy)
    expected = corpus["train"]["audio"][0].copy()
    expected[0, 1] = stored
    np.testing.assert_array_equal(store.reader(table, "audio").read_one(0), expected)
    assert report.modalities["audio"]["negative_inf"] == 1


def test_storage_type_is_the_narrowest_without_loss(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    for split in corpus.values():
        split["audio"] = split["audio"].astype(np.float16).astype(np.float32)
        split["vision"] = (split["vision"] * 10).astype(np.int16)
    report, table = _import(store, tmp_path, corpus)
    assert {name: item["dtype"] for name, item in report.modalities.items()} == {
        "audio": "float16",
        "vision": "int32",
        "text": "float32",
        "text_bert": "float32",
    }
    np.testing.assert_array_equal(store.reader(table, "audio").read_one(0), corpus["train"]["audio"][0])
    np.testing.assert_array_equal(store.reader(table, "vision").read_one(0), corpus["train"]["vision"][0])


def test_values_beyond_the_chosen_type_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    corpus["train"]["audio"][0, 0, 0] = 1e6
    with pytest.raises(StoreError, match="beyond float16"):
        _import(store, tmp_path, corpus, dtype="float16")


def test_override_file_replaces_a_modality_by_id(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    other = mmsa_corpus(seed=9)
    override = {}
    for split, data in other.items():
        order = list(range(len(data["id"])))[::-1]
        override[split] = {
            "id": [data["id"][row] for row in order],
            "audio": data["audio"][order],
            "audio_lengths": [data["audio_lengths"][row] for row in order],
        }
    path = write_pickle(tmp_path / "wavlm.pkl", override)
    _, table = _import(store, tmp_path, corpus, modality_files={"audio": path})
    reader = store.reader(table, "audio")
    for row, name in enumerate(corpus["train"]["id"]):
        source = other["train"]["id"].index(name)
        length = other["train"]["audio_lengths"][source]
        np.testing.assert_array_equal(reader.read_one(row), other["train"]["audio"][source, :length])


def test_override_file_must_hold_every_sample(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    override = {split: {"id": data["id"][:-1], "audio": data["audio"][:-1]} for split, data in corpus.items()}
    path = write_pickle(tmp_path / "short.pkl", override)
    with pytest.raises(StoreError, match=r"short\.pkl: train lacks 1 samples"):
        _import(store, tmp_path, corpus, modality_files={"audio": path})


def test_repeated_ids_are_numbered_and_kept(store: FeatureStore, tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    corpus["test"]["id"][2] = corpus["test"]["id"][0]
    report, table = _import(store, tmp_path, corpus)
    rows = table.rows("test").tolist()
    assert table.id[rows[2]] == corpus["test"]["id"][0] + "#2"
    assert table.extra["source_id"][rows[2]] == corpus["test"]["id"][0]
    assert any("1 ids occur more than once" in note for note in report.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: [d["train"].pop(key) for key in ("regression_labels", "classification_labels")],
            "train has no labels",
        ),
        (lambda d: d["train"].update(audio_lengths=[1, 2]), "6 samples but 2 lengths"),
        (lambda d: d["valid"].update(audio=d["valid"]["audio"][:2]), "audio has 2 entries for 3 samples"),
        (lambda d: d["valid"].update(raw_text=["one"]), "raw_text has 1 entries for 3 samples"),
        (
            lambda d: d["test"].update(vision=d["test"]["vision"][..., :2]),
            "has 2 features a frame, others have 3",
        ),
        (lambda d: d["test"].update(audio=np.array(["x"] * 4)), r"audio.*numeric|audio.*expected"),
        (
            lambda d: d["train"].update(regression_labels=["bad"] * 6),
            r"regression_labels\[0\]: 'bad' is not a number",
        ),
        (lambda d: d.update(train=7), "not one split of data|not an MMSA file|unknown layout"),
    ],
)
def test_inconsistent_files_are_refused_with_the_place(
    store: FeatureStore, tmp_path: Path, change, message: str
) -> None:
    corpus = mmsa_corpus()
    change(corpus)
    with pytest.raises(StoreError, match=message) as caught:
        _import(store, tmp_path, corpus)
    assert "corpus.pkl" in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_dataset_is_replaced_only_when_asked(store: FeatureStore, tmp_path: Path) -> None:
    _import(store, tmp_path, mmsa_corpus())
    with pytest.raises(StoreError, match="has a dataset 'corpus' already"):
        _import(store, tmp_path, mmsa_corpus())
    report, _ = _import(store, tmp_path, mmsa_corpus(), replace=True)
    assert (report.version, report.num_stored) == (2, 0)


def test_an_import_that_breaks_off_leaves_no_dataset_and_can_be_repeated(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = mmsa_corpus()
    put, calls = FeatureWriter.put, []

    def full_disk(writer: FeatureWriter, *arguments: object, **settings: object) -> bool:
        calls.append(writer.feature_set.modality)
        if len(calls) == 17:
            raise StoreWriteError("no space left on device")
        return put(writer, *arguments, **settings)

    monkeypatch.setattr(FeatureWriter, "put", full_disk)
    with pytest.raises(StoreWriteError):
        _import(store, tmp_path, corpus)
    assert set(calls) == {"audio", "vision"}
    store.refresh()
    assert store.datasets() == []
    monkeypatch.undo()
    report, table = _import(store, tmp_path, corpus)
    assert (report.version, table.splits()) == (1, SPLIT_SIZES)
    # 13 audio and 3 vision sequences were stored before it broke off, and are not stored again.
    assert report.num_stored == 4 * 13 - 16
    np.testing.assert_array_equal(
        store.reader(table, "vision").read_one(0), corpus["train"]["vision"][0].astype("f4")
    )


def test_the_shipped_checksums_are_whole() -> None:
    known = load_known_files()
    assert len(known) == 5
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in known)
    assert known["c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f"].startswith("SIMS")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    file = write_pickle(tmp_path / "corpus.pkl", mmsa_corpus())
    report = import_files(tmp_path / "no store", [str(file)], ImportOptions("corpus"), dry_run=True)
    assert report.splits == SPLIT_SIZES
    assert report.dry_run
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.pkl"]


def test_published_and_own_checksums_name_the_file(store: FeatureStore, tmp_path: Path) -> None:
    import hashlib
    import json

    file = write_pickle(tmp_path / "corpus.pkl", mmsa_corpus())
    known = tmp_path / "known.json"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    known.write_text(json.dumps([{"name": "our corpus, May release", "sha256": digest}]))
    report = import_files(store, [str(file)], ImportOptions("corpus", known_files=known))
    assert [(source.sha256, source.known) for source in report.sources] == [
        (digest, "our corpus, May release")
    ]
    assert store.table("corpus").attributes["import"]["sources"] == [
        {"file": "corpus.pkl", "sha256": digest, "known": "our corpus, May release"}
    ]
