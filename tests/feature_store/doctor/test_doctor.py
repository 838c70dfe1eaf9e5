from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, digest_bytes, sample_key
from msakit.feature_store.doctor import DataProblem, Expectations, Report, check_dataset
from msakit.feature_store.doctor.language import is_garbled, script_share

AUDIO = FeatureSet("audio", "prosody@1", 3)


def _sequence(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(4 + number % 3, 3)).astype(np.float32)


def _samples(count: int = 12) -> list[Sample]:
    """A healthy corpus: rated, spoken, split by video and speaker."""
    splits = ["train"] * (count - 4) + ["valid"] * 2 + ["test"] * 2
    return [
        Sample(
            id=f"s{number}",
            split=split,
            text=f"sentence number {number}",
            label=round(-3 + 6 * number / count, 2),
            speaker=f"{split}-speaker",
            start_s=0.0,
            end_s=1.0,
            language="en",
            extra={"video": f"{split}-{number // 2}"},
        )
        for number, split in enumerate(splits)
    ]


def _store(
    path: Path,
    samples: list[Sample],
    sequences: dict[int, np.ndarray | None] | None = None,
    nan_policy: str = "keep",
) -> FeatureStore:
    """A store of the samples with audio; `sequences` replaces or removes some."""
    store = FeatureStore.create(path / "store")
    filled = []
    with store.writer(AUDIO, nan_policy=nan_policy) as writer:
        for number, sample in enumerate(samples):
            values = (sequences or {}).get(number, _sequence(number))
            if values is None:
                filled.append(sample)
                continue
            key = sample_key(digest_bytes(values.tobytes() + bytes(len(values))))
            writer.put(key, values)
            filled.append(Sample(**{**vars(sample), "features": {"audio": key}}))
    store.write_table("corpus", SampleTable.from_samples(filled, {"audio": AUDIO.fingerprint}))
    return store


def _change(samples: list[Sample], number: int, **fields: object) -> list[Sample]:
    return [Sample(**{**vars(item), **fields}) if row == number else item for row, item in enumerate(samples)]


def _check(path: Path, samples: list[Sample], expected: Expectations | None = None, **settings) -> Report:
    return check_dataset(_store(path, samples, **settings), "corpus", expected)


def _only(report: Report, code: str) -> DataProblem:
    found = [item for item in report.findings if item.code == code]
    assert len(found) == 1, [item.code for item in report.findings]
    return found[0]


def test_a_healthy_corpus_has_no_findings(tmp_path: Path) -> None:
    report = _check(tmp_path, _samples(), Expectations((-3, 3), 0.01, "en"))
    assert report.findings == []
    assert report.num_samples == 12


def test_nonfinite_features_are_errors_with_ids(tmp_path: Path) -> None:
    bad = _sequence(2)
    bad[0, 1], bad[1, 2], bad[2, 0] = np.nan, -np.inf, np.inf
    finding = _only(_check(tmp_path, _samples(), sequences={2: bad}), "nonfinite")
    assert (finding.severity, finding.where, finding.count, finding.sample_ids) == (
        "error",
        "audio",
        1,
        ("s2",),
    )
    assert "1 NaN and 2 infinite" in finding.message
    assert "--nonfinite zero" in finding.remedy


def test_constant_and_huge_features_are_numbered(tmp_path: Path) -> None:
    sequences = {number: _sequence(number) for number in range(12)}
    for values in sequences.values():
        values[:, 1] = 0.5
        values[:, 2] *= 1e8
    report = _check(tmp_path, _samples(), sequences=sequences)
    assert "1 of 3 features never change: 1." in _only(report, "constant-feature").message
    assert "exceed 1e+06: 2." in _only(report, "huge-values").message


def test_zeros_at_the_ends_look_like_padding(tmp_path: Path) -> None:
    padded = {
        number: np.concatenate([_sequence(number), np.zeros((3, 3), np.float32)]) for number in range(6)
    }
    finding = _only(_check(tmp_path, _samples(), sequences=padded), "padding")
    assert (finding.severity, finding.count) == ("warning", 6)
    assert "lengths" in finding.remedy


def test_empty_zero_and_absent_sequences(tmp_path: Path) -> None:
    sequences = {0: np.zeros((0, 3), np.float32), 1: np.zeros((5, 3), np.float32), 8: None, 9: None}
    report = _check(tmp_path, _samples(), sequences=sequences)
    assert _only(report, "empty-sequence").sample_ids == ("s0",)
    assert _only(report, "all-zero").sample_ids == ("s1",)
    absent = _only(report, "absent")
    assert (absent.severity, absent.count) == ("error", 2)
    assert "2 of 2 samples of valid" in absent.message


def test_a_very_long_sequence_is_told(tmp_path: Path) -> None:
    finding = _only(
        _check(tmp_path, _samples(), sequences={3: np.ones((500, 3), np.float32) * _sequence(3)[:1]}),
        "long-sequence",
    )
    assert (finding.severity, finding.sample_ids) == ("info", ("s3",))


def test_damaged_features_are_reported_not_raised(tmp_path: Path) -> None:
    store = _store(tmp_path, _samples())
    shard = next((tmp_path / "store").rglob("shards/*.h5"))
    content = bytearray(shard.read_bytes())
    position = content.index(_sequence(5).tobytes())
    content[position] ^= 1
    shard.chmod(0o600)
    shard.write_bytes(content)
    finding = _only(check_dataset(FeatureStore.open(store.path), "corpus"), "damaged")
    assert (finding.severity, finding.sample_ids) == ("error", ("s5",))


@pytest.mark.parametrize(
    ("fields", "code", "severity"),
    [
        ({"label": 3.5}, "label-range", "error"),
        ({"label": math.inf}, "label-infinite", "error"),
        ({"label": math.nan}, "no-label", "error"),
        ({"label": 0.123}, "label-grid", "warning"),
        ({"text": " "}, "empty-text", "warning"),
        ({"text": "你好吗朋友"}, "foreign-text", "warning"),
        ({"text": "It\u00e2\u20ac\u2122s fine"}, "garbled-text", "warning"),
        ({"end_s": -1.0}, "reversed-times", "error"),
        ({"extra": {"video": "test-5"}}, "split-leak", "warning"),
        ({"speaker": "test-speaker"}, "split-leak", "warning"),
    ],
)
def test_one_bad_row_is_found(tmp_path: Path, fields: dict, code: str, severity: str) -> None:
    report = _check(tmp_path, _change(_samples(), 1, **fields), Expectations((-3, 3), 0.01))
    finding = _only(report, code)
    assert finding.severity == severity
    assert finding.message
    assert finding.remedy
    if code != "split-leak":
        assert finding.sample_ids == ("s1",)
    assert {item.code for item in report.findings} == {code}


def test_a_dialogue_in_two_splits_is_an_error(tmp_path: Path) -> None:
    samples = [Sample(**{**vars(item), "dialogue": "d1", "extra": {}}) for item in _samples()]
    finding = _only(_check(tmp_path, samples), "split-leak")
    assert (finding.severity, finding.where) == ("error", "dialogue")


def test_copies_across_splits_are_errors(tmp_path: Path) -> None:
    samples = _change(_samples(), 10, text="sentence number 0")
    report = _check(tmp_path, samples, sequences={10: _sequence(0)})
    finding = _only(report, "copy-across-splits")
    assert (finding.severity, finding.sample_ids) == ("error", ("s0", "s10"))
    within = _check(
        tmp_path / "b", _change(_samples(), 1, text="sentence number 0"), sequences={1: _sequence(0)}
    )
    assert _only(within, "copy-within-split").severity == "warning"


def test_short_texts_alone_are_no_copies(tmp_path: Path) -> None:
    samples = _change(_change(_samples(), 0, text="Yes."), 11, text="Yes.")
    report = _check(tmp_path, samples, sequences={0: None, 11: None})
    assert not [item for item in report.findings if item.code.startswith("copy")]


def test_a_sample_without_anything_is_an_error(tmp_path: Path) -> None:
    report = _check(tmp_path, _change(_samples(), 4, text=""), sequences={4: None})
    assert _only(report, "empty-sample").sample_ids == ("s4",)


def test_missing_splits_and_constant_labels(tmp_path: Path) -> None:
    samples = [Sample(**{**vars(item), "label": 1.0}) for item in _samples() if item.split != "valid"]
    report = _check(tmp_path, samples)
    assert "no valid split" in _only(report, "missing-split").message
    assert {
        item.message.split(" of ")[1].split()[0] for item in report.findings if item.code == "label-constant"
    } == {
        "train",
        "test",
    }


def test_splits_nobody_reads_are_errors(tmp_path: Path) -> None:
    finding = _only(_check(tmp_path, _change(_samples(), 1, split="holdout")), "unknown-split")
    assert (finding.severity, finding.count) == ("error", 1)
    assert "holdout" in finding.message


def test_classes_are_compared_between_splits(tmp_path: Path) -> None:
    names = ["joy"] * 6 + ["anger", "Joy"] + ["joy", "fear"] + ["joy", "anger"]
    samples = [
        Sample(**{**vars(item), "label": math.nan, "label_name": name})
        for item, name in zip(_samples(), names, strict=True)
    ]
    report = _check(tmp_path, samples)
    unseen = _only(report, "class-unseen")
    assert (unseen.severity, unseen.sample_ids) == ("error", ("s9",))
    assert "fear" in unseen.message
    assert "Joy, joy" in _only(report, "class-spelling").message
    assert "Joy (1), anger (1)." in _only(report, "class-rare").message
    assert {item.message.split()[0] for item in report.findings if item.code == "class-absent"} == {
        "train",
        "valid",
        "test",
    }


def test_repeated_source_ids_are_errors(tmp_path: Path) -> None:
    samples = [
        Sample(**{**vars(item), "extra": {**item.extra, "source_id": "same" if number < 2 else item.id}})
        for number, item in enumerate(_samples())
    ]
    finding = _only(_check(tmp_path, samples), "duplicate-id")
    assert (finding.severity, finding.count, finding.sample_ids) == ("error", 2, ("same",))


def test_the_report_is_plain_json_errors_first(tmp_path: Path) -> None:
    report = _check(tmp_path, _change(_change(_samples(), 1, label=9.0), 2, text=""), Expectations((-3, 3)))
    plain = json.loads(json.dumps(report.as_json()))
    assert (plain["dataset"], plain["samples"], plain["errors"], plain["warnings"]) == ("corpus", 12, 1, 1)
    assert [item["severity"] for item in plain["findings"]] == ["error", "warning"]
    assert plain["findings"][0]["sample_ids"] == ["s1"]


@pytest.mark.parametrize(
    ("text", "tag", "share"),
    [
        ("hello", "en", 1.0),
        ("你好ab", "zh-CN", 0.5),
        ("привет", "en", 0.0),
        ("こんにちは世界", "ja", 1.0),
        ("123 ?!", "en", None),
        ("hello", "tlh", None),
    ],
)
def test_scripts(text: str, tag: str, share: float | None) -> None:
    assert script_share(text, tag) == share


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("It\u2019s caf\u00e9 na\u00efve", False),
        ("It\u2019s caf\u00e9".encode().decode("cp1252"), True),
        ("caf\u00c3\u00a9", True),
        ("caf\ufffd", True),
        ("\u00c2 quoi bon", False),
    ],
)
def test_traces_of_a_wrong_encoding(text: str, garbled: bool) -> None:
    assert is_garbled(text) is garbled


def test_clips_to_be_predicted_need_neither_label_nor_split(tmp_path: Path) -> None:
    samples = [Sample(f"s{number}", "", text=f"sentence {number}", language="en") for number in range(3)]
    report = _check(tmp_path, samples)
    assert report.num_errors == 0
    assert _only(report, "no-split").count == 3
    assert not {"missing-split", "unknown-split", "no-label"} & {item.code for item in report.findings}


def test_an_unlabelled_sample_is_an_error_only_in_a_split(tmp_path: Path) -> None:
    samples = _change(_change(_samples(), 1, label=math.nan), 2, label=math.nan, split="")
    assert _only(_check(tmp_path, samples), "no-label").count == 1


def test_masks_of_tokens_are_no_constant_features(tmp_path: Path) -> None:
    tokens, store = FeatureSet("text_bert", "bert@1", 3), FeatureStore.create(tmp_path / "store")
    filled = []
    with store.writer(tokens) as writer:
        for number, sample in enumerate(_samples()):
            key = sample_key(digest_bytes(bytes([number])))
            writer.put(key, np.array([[101, 1, 0], [number, 1, 0]], np.float32))
            filled.append(Sample(**{**vars(sample), "features": {"text_bert": key}}))
    store.write_table("corpus", SampleTable.from_samples(filled, {"text_bert": tokens.fingerprint}))
    report = check_dataset(store, "corpus", Expectations())
    assert "constant-feature" not in {item.code for item in report.findings}
