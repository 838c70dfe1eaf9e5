from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_store.interchange.corpora import mse_split, write_pickle

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.interchange import ImportOptions, import_files

MELD_HEAD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,StartTime,EndTime\n"
MELD_TRAIN = MELD_HEAD + (
    '1,"Oh, my God!",Chandler,surprise,positive,0,0,8,"00:16:16,059","00:16:21,731"\n'
    '2,That I did.,The Interviewer,neutral,neutral,0,1,8,"00:16:21,940","00:16:23,442"\n'
    "3,No.,Joey,anger,negative,1,0,9,,\n"
)
MELD_DEV = MELD_HEAD + '1,Fine.,Ross,joy,positive,0,0,1,"00:00:01,000","00:00:02,500"\n'


def _meld(path: Path) -> list[str]:
    (path / "train_sent_emo.csv").write_text(MELD_TRAIN, encoding="utf-8")
    (path / "dev_sent_emo.csv").write_text(MELD_DEV, encoding="utf-8")
    return [str(path / "train_sent_emo.csv"), str(path / "dev_sent_emo.csv")]


def test_meld_dialogues(store: FeatureStore, tmp_path: Path) -> None:
    report = import_files(store, _meld(tmp_path), ImportOptions("meld", language="en"))
    table = store.table("meld")
    assert (report.format, report.modalities) == ("csv", {})
    assert table.splits() == {"train": 3, "valid": 1}
    assert table.text == ("Oh, my God!", "That I did.", "No.", "Fine.")
    assert table.speaker == ("Chandler", "The Interviewer", "Joey", "Ross")
    assert table.label_name == ("surprise", "neutral", "anger", "joy")
    assert table.extra["sentiment"] == ("positive", "neutral", "negative", "positive")
    assert table.extra["season"].tolist() == [8, 8, 9, 1]
    # Dialogue 0 occurs in both files: without its split, train and valid would become one dialogue.
    assert table.dialogue == ("train-0", "train-0", "train-1", "valid-0")
    assert table.id == ("train-0-0", "train-0-1", "train-1-0", "valid-0-0")
    assert table.utterance.tolist() == [0, 1, 0, 0]
    assert {name: rows.tolist() for name, rows in table.dialogues().items()}["train-0"] == [0, 1]
    np.testing.assert_allclose(table.start_s[[0, 3]], [976.059, 1.0])
    assert np.isnan(table.start_s[2])


def test_named_columns_and_ratings(store: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "sims.tsv"
    file.write_text(
        "video_id\tclip_id\tsatz\twert\tmode\nv1\t0001\t你好\t-0.6\ttrain\nv1\t0002\t再见\t1\tvalid\n",
        encoding="utf-8",
    )
    columns = {"text": "satz", "label": "wert"}
    import_files(store, [str(file)], ImportOptions("sims", columns=columns))
    table = store.table("sims")
    assert table.id == ("v1$_$0001", "v1$_$0002")
    assert table.label.tolist() == [-0.6, 1.0]
    assert table.label_name == ("", "")
    assert table.text == ("你好", "再见")
    assert table.extra["video"] == ("v1", "v1")
    assert table.split == ("train", "valid")


def test_whole_numbers_are_classes(store: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "data_train.csv"
    file.write_text("text,label\na,0\nb,2\n", encoding="utf-8")
    import_files(store, [str(file)], ImportOptions("x"))
    assert store.table("x").label_name == ("0", "2")


def test_windows_encoding_is_read_and_told(store: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "data_test.csv"
    file.write_bytes("text,label\nIt\u2019s caf\u00e9,joy\n".encode("cp1252"))
    report = import_files(store, [str(file)], ImportOptions("x"))
    assert store.table("x").text == ("It\u2019s caf\u00e9",)
    assert any("not UTF-8, read as Windows-1252" in note for note in report.notes)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,b\n1,2\n", {}, r"neither a text nor a label column among a, b"),
        ("", {}, "neither a text nor a label column among no columns"),
        ("text,label\n", {}, "no data rows"),
        ("text,label\nhi,joy,extra\n", {}, r"data_train\.csv:2: 3 cells, but the header has 2"),
        ("text,label,turn\nhi,joy,two\n", {}, r"data_train\.csv:2: utterance 'two' is not a number"),
        ("text,label,split\nhi,joy,later\n", {}, r"data_train\.csv:2: 'later' is not a split name"),
        ("text,label\nhi,joy\n", {"columns": {"text": "Satz"}}, "no column 'Satz'"),
        ("text,label\nhi,joy\n", {"columns": {"mood": "label"}}, "unknown meaning"),
        ('text,label\n"' + "x" * 200_000 + '",joy\n', {}, "field larger than field limit"),
    ],
)
def test_bad_tables_are_refused_with_the_line(
    store: FeatureStore, tmp_path: Path, content: str, options: dict, message: str
) -> None:
    file = tmp_path / "data_train.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        import_files(store, [str(file)], ImportOptions("x", **options))


def test_features_are_joined_from_another_dataset(store: FeatureStore, tmp_path: Path) -> None:
    samples = mse_split(3)
    for number, name in enumerate(("train-0-0", "train-0-1", "elsewhere")):
        samples[number]["id"] = name
    import_files(store, [f"train={write_pickle(tmp_path / 'f.pkl', samples)}"], ImportOptions("features"))
    import_files(store, _meld(tmp_path), ImportOptions("meld", features_from="features"))
    table = store.table("meld")
    reader = store.reader(table, "audio")
    assert reader.present.tolist() == [True, True, False, False]
    for row in (0, 1):
        features = samples[row]["features"]
        np.testing.assert_array_equal(reader.read_one(row), features["audio"][: features["audio_len"]])


def _clips(folder: Path, names: list[str], width: int = 3) -> dict[str, np.ndarray]:
    folder.mkdir()
    rng = np.random.default_rng(len(names))
    arrays = {
        name: rng.normal(size=(length, width)).astype(np.float32)
        for length, name in enumerate(names, start=1)
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return arrays


def test_folders_of_npy_are_joined_by_name(store: FeatureStore, tmp_path: Path) -> None:
    files = _meld(tmp_path)
    names = ["train_dia0_utt0", "train_dia0_utt1", "train_dia1_utt0"]
    audio = _clips(tmp_path / "hubert-FRA", names)
    utterance = tmp_path / "clip-UTT"
    utterance.mkdir()
    np.save(utterance / "train_dia1_utt0.npy", np.array([1.0, 2.0], np.float32))
    frames = utterance / "valid_dia0_utt0"
    frames.mkdir()
    for number in range(3):
        np.save(frames / f"{number:03d}.npy", np.full(2, number, np.float32))
    options = ImportOptions(
        "meld",
        modality_files={"audio": tmp_path / "hubert-FRA", "vision": utterance},
        file_pattern="{split}_dia{dialogue}_utt{utterance}",
        extractors={"audio": "hubert@1"},
    )
    report = import_files(store, files, options)
    table = store.table("meld")
    reader = store.reader(table, "audio")
    assert reader.present.tolist() == [True, True, True, False]
    for row, name in enumerate(names):
        np.testing.assert_array_equal(reader.read_one(row), audio[name])
    vision = store.reader(table, "vision")
    assert vision.present.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(vision.read_one(2), [[1, 2]])
    np.testing.assert_array_equal(vision.read_one(3), [[0, 0], [1, 1], [2, 2]])
    assert store.feature_set(table.feature("audio").fingerprint).extractor == "hubert@1"
    assert any("no file for 1 samples, first ['valid-0-0']" in note for note in report.notes)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{nope}", "file pattern '{nope}'"),
        ("{id}/../{id}", "is not a file name"),
        ("{id}x", "holds features of none of the 1 samples"),
    ],
)
def test_names_that_do_not_fit_are_explained(
    store: FeatureStore, tmp_path: Path, pattern: str, message: str
) -> None:
    (tmp_path / "data_train.csv").write_text("id,text,label\na,hi,joy\n")
    _clips(tmp_path / "audio", ["a"])
    options = ImportOptions("x", modality_files={"audio": tmp_path / "audio"}, file_pattern=pattern)
    with pytest.raises(StoreError, match=message):
        import_files(store, [str(tmp_path / "data_train.csv")], options)


ODD = "one\u2028two\u0085three\x0cfour\x1cfive"


def test_line_separators_of_unicode_are_part_of_a_text(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "data_train.csv"
    path.write_text(f"id,text,label\na,{ODD},joy\nb,fine,joy\n", encoding="utf-8")
    import_files(store, [str(path)], ImportOptions("x"))
    assert store.table("x").text == (ODD, "fine")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,hi,joy\nb,hi\n", r"data_train\.csv:3: 2 cells, but the header has 3"),
        ("a,hi,joy\nb,hi,joy,x\n", r"data_train\.csv:3: 4 cells"),
        ('a,hi,joy\nb,"hi,joy\nc,hi,joy\n', r"data_train\.csv:3: a quote is opened and never closed"),
        ('a,"hi" there,joy\n', r"data_train\.csv:2: "),
        (f"a,{'x' * 200_000},joy\n", r"data_train\.csv:2: field larger"),
    ],
)
def test_torn_rows_are_refused_with_their_line(
    store: FeatureStore, tmp_path: Path, rows: str, message: str
) -> None:
    (tmp_path / "data_train.csv").write_text(f"id,text,label\n{rows}", encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        import_files(store, [str(tmp_path / "data_train.csv")], ImportOptions("x"))
    assert store.datasets() == []


def test_a_position_must_fit_a_dialogue(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "data_train.csv").write_text("id,text,label,utterance_id\na,hi,joy,1e300\n")
    with pytest.raises(StoreError, match="not a whole number"):
        import_files(store, [str(tmp_path / "data_train.csv")], ImportOptions("x"))


def _npy_with_header(header: str, body: bytes = b"") -> bytes:
    text = header.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not numpy",
        _npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}", b"x" * 16),
        _npy_with_header(
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n(S'true'\ntR."
        ),
        _npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}", b"x" * 16),
        _npy_with_header("__import__('os').system('true')"),
        _npy_with_header("{'descr': '<U4', 'fortran_order': False, 'shape': (1, 1)}", b"x" * 16),
        _npy_with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", b"x" * 4),
    ],
)
def test_hostile_npy_files_are_refused(store: FeatureStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data_train.csv").write_text("id,text,label\na,hi,joy\n")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.npy").write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.npy"):
        import_files(
            store,
            [str(tmp_path / "data_train.csv")],
            ImportOptions("x", modality_files={"audio": tmp_path / "audio"}),
        )


def test_a_folder_given_as_file_is_explained(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a folder: give the CSV of its samples"):
        import_files(store, [str(tmp_path)], ImportOptions("x"))
    with pytest.raises(StoreError, match="found none"):
        import_files(store, [], ImportOptions("x"))


def test_emorynlps_scenes_are_its_dialogues(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "emorynlp_train.csv"
    path.write_text(
        "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Sr No.\n"
        "Hi.,Ross,Sad,4,2,1,1,1\nHey.,Joey,Neutral,4,1,1,1,2\nNo!,Monica,Mad,4,1,2,1,3\n",
        encoding="utf-8",
    )
    import_files(store, [str(path)], ImportOptions("emorynlp", language="en"))
    table = store.table("emorynlp")
    assert table.dialogue == ("1-1-4", "1-1-4", "2-1-4")
    assert table.dialogues()["1-1-4"].tolist() == [1, 0]
