"""Answers over the length of recordings: the whole is the mean by length, and everything is written."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from msakit.workflows.responses import Response
from msakit.workflows.timeline import Timeline, stored_timelines, write_timelines
from msakit.workflows.whole import answer_for_whole
from tests.reports.test_report import svg_texts


def segment(start, end, prediction, probabilities=None, **more):
    id_ = f"talk#{start}-{end}"
    known = {"recording": "talk", "start_s": float(start), "end_s": float(end)}
    return Response(id_, prediction, probabilities=probabilities or {}, **known, **more)


SCORES = [
    segment(
        0,
        6,
        -1.0,
        {"-1": 0.75, "+1": 0.25},
        positive=0.25,
        text="so dull",
        notes=["face in 20 % of 9 frames"],
    ),
    segment(
        6, 8, 1.0, {"-1": 0.05, "+1": 0.95}, positive=0.95, notes=["face in 31 % of 9 frames", "no text"]
    ),
    segment(8, 10, None, error="cannot be decoded"),
]


def test_a_score_is_the_mean_by_length():
    whole = answer_for_whole("talk", SCORES)
    assert (whole.prediction, whole.label) == (-0.5, "negative")  # (6 * -1 + 2 * 1) / 8
    assert whole.probabilities == pytest.approx({"-1": 0.575, "+1": 0.425})
    assert whole.positive == pytest.approx(0.425)
    assert whole.likeliest[0] == ("-1", pytest.approx(0.575))
    assert (whole.recording, whole.start_s, whole.end_s, whole.text) == ("", 0, 10, "so dull")
    assert whole.notes == [
        "face in 20 % of 9 frames, or the like (2 of 3 segments)",
        "no text (1 of 3 segments)",
        "it could not be answered (1 of 3 segments)",
    ]


def test_a_class_is_the_likeliest_by_mean_probability_not_by_votes():
    segments = [
        segment(0, 4, "joy", {"joy": 0.5, "fear": 0.1, "anger": 0.4}, absent=["vision"]),
        segment(4, 8, "fear", {"joy": 0.0, "fear": 0.6, "anger": 0.4}, absent=["vision", "text"]),
    ]
    whole = answer_for_whole("talk", segments)
    assert (whole.prediction, whole.label, whole.positive) == ("anger", "anger", None)
    assert whole.absent == ["vision"]


def test_generated_classes_are_weighed_by_time():
    segments = [segment(0, 2, "joy"), segment(2, 4, "joy"), segment(4, 9, "fear")]
    assert answer_for_whole("talk", segments).prediction == "fear"


def test_a_recording_none_of_whose_segments_is_answered_says_why():
    whole = answer_for_whole("talk", [SCORES[2]])
    assert (whole.prediction, whole.error) == (None, "no segment could be answered: cannot be decoded")


def test_stored_segments_are_put_together_by_recording():
    other = replace(segment(0, 5, 2.0), recording="other")
    found = stored_timelines([SCORES[1], Response("alone", 1.0), other, SCORES[0], SCORES[2]])
    assert [(each.recording, [part.start_s for part in each.segments]) for each in found] == [
        ("other", [0]),
        ("talk", [0, 6, 8]),
    ]
    assert found[1].whole.prediction == -0.5


def timeline(name, segments):
    return Timeline(name, segments, answer_for_whole(name, segments))


def test_timelines_are_written_as_json_and_pictures_under_safe_names(tmp_path):
    pytest.importorskip("matplotlib")
    names = ["clips/a talk.mp4", "more/a talk.mp4", "../../..", "bad"]
    found = [timeline(name, SCORES) for name in names[:3]] + [timeline("bad", [SCORES[2]])]
    write_timelines(tmp_path / "timelines", found)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "a_talk.mp4-2.json", "a_talk.mp4-2.svg", "a_talk.mp4.json", "a_talk.mp4.svg",
        "bad.json", "recording.json", "recording.svg",
    ]  # fmt: skip
    content = json.loads((tmp_path / "timelines" / "a_talk.mp4.json").read_text(encoding="utf-8"))
    assert content["whole"]["prediction"] == -0.5
    assert [each["start_s"] for each in content["segments"]] == [0, 6, 8]
    assert content["segments"][0]["probabilities"] == {"-1": 0.75, "+1": 0.25}


def test_the_picture_shows_time_score_and_words():
    pytest.importorskip("matplotlib")
    texts = svg_texts(ET.fromstring(timeline("talk", SCORES).figure().svg))
    assert {"talk", "so dull", "score", "0:10"} <= set(texts)


def test_the_picture_of_many_classes_and_segments_breaks_into_rows():
    pytest.importorskip("matplotlib")
    names = [f"class {index}" for index in range(10)]
    chances = {name: index / 45 for index, name in enumerate(names)}
    segments = [segment(10 * at, 10 * at + 10, "class 9", chances, text=f"words {at}") for at in range(20)]
    texts = svg_texts(ET.fromstring(timeline("talk", segments).figure().svg))
    assert {f"words {at}" for at in range(20)} <= set(texts)
    assert texts.count("probability") == 3
    assert set(texts) & set(names) == set(names[2:])  # eight colours: the likeliest
