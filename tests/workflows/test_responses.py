"""Answers in words, and the files they are written to."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from msakit.core.errors import InputError
from msakit.runs.predictions import Predictions
from msakit.workflows.responses import Response, check_format, respond, write_responses

VALUES = (-1.0, 0.0, 1.0, 2.0)


def scored(*rows, names=(), answers=("-1.0", "+0.0", "+1.0", "+2.0")) -> Predictions:
    ids = tuple(f"s{index}" for index in range(len(rows)))
    values = np.array([value for value, _ in rows], np.float64)
    chances = np.array([chance for _, chance in rows])
    return Predictions(ids, np.full(len(rows), np.nan), values, names, answers, chances)


def test_scores_are_put_in_words_with_the_chance_of_a_positive_one():
    table = scored((1.0, [0.1, 0.2, 0.3, 0.4]), (-1.0, [0.7, 0.1, 0.1, 0.1]), (0.0, [0, 1, 0, 0]))
    found = respond(table, VALUES)
    assert [each.label for each in found] == ["positive", "negative", "neutral"]
    assert [each.positive for each in found] == pytest.approx([0.7, 0.2, 0.0])


def test_classes_have_a_chance_of_a_positive_one_where_one_is_called_so():
    names = ("negative", "positive")
    [answer] = respond(scored((1, [0.2, 0.8]), names=names, answers=names), (0.0, 1.0))
    assert (answer.prediction, answer.label, answer.positive) == ("positive", "positive", 0.8)
    names = ("anger", "joy")
    [answer] = respond(scored((1, [0.2, 0.8]), names=names, answers=names), (0.0, 1.0))
    assert (answer.label, answer.positive) == ("joy", None)


RESPONSES = [
    Response("a", 0.5, "positive", 0.75, [("+0.5", 0.5)], None, ["vision"], "so, so", "", ["vision: dark"]),
    Response("b", error="b.mp4: cannot be decoded"),
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_files_hold_every_answer(tmp_path, ending):
    path = tmp_path / "deep" / f"answers.{ending}"
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'msakit[parquet]'")
    check_format(path)
    write_responses(path, RESPONSES)
    if ending == "csv":
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    elif ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        rows = parquet.read_table(path).to_pylist()
    assert [row["id"] for row in rows] == ["a", "b"]
    assert float(rows[0]["positive"]) == 0.75
    assert float(rows[0]["prediction"]) == 0.5
    assert rows[0]["text"] == "so, so"
    assert rows[1]["error"] == "b.mp4: cannot be decoded"
    assert rows[1]["positive"] in ("", None)


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path):
    """Names, transcripts, labels and messages come from strangers' files."""
    run = '=HYPERLINK("http://x")'
    response = Response(
        run, "@joy", "@joy", 0.5, [("-1.0", 0.5)], run, [], "+1|cmd", run, [run], run, run, 0.0, 1.0
    )
    write_responses(tmp_path / "a.csv", [response, Response("-aX3", -1.5, "negative")])
    first, second = csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines())
    disarmed = dict.fromkeys(("id", "generated", "text_by", "notes", "error", "recording"), f"'{run}")
    disarmed |= {"prediction": "'@joy", "label": "'@joy", "text": "'+1|cmd", "likeliest": "-1.0 0.5000"}
    assert first == first | disarmed
    assert (second["id"], second["prediction"]) == ("-aX3", "-1.5")


def test_an_ending_that_names_no_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"answers are written as \.csv, \.jsonl, \.parquet"):
        check_format(tmp_path / "answers.xlsx")
