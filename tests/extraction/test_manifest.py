"""Manifests: what a row means, and that every wrong line is named."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from msakit.core.errors import ConfigError, InputError
from msakit.extraction.manifest import read_manifest


def write(tmp_path: Path, text: str, name: str = "manifest.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError, match=path.name) as caught:
        read_manifest(path)
    return list(caught.value.problems)


def test_every_column_finds_its_place(tmp_path):
    path = write(
        tmp_path,
        "id,path,text,label,label_name,split,speaker,dialogue,utterance,language,start_s,end_s,rating,place\n"
        'a,clips/a.mp4,"Well, ""really""?\nYes.",-1.5,sad,train,ann,d1,0,en,0.5,2,3,left\n'
        "b,/media/b.wav,,,,,,,,,,,4.5,\n",
    )
    first, second = read_manifest(path)
    assert (first.clip.clip_id, first.clip.path) == ("a", tmp_path / "clips/a.mp4")
    assert first.clip.text == 'Well, "really"?\nYes.'
    assert (first.clip.start_s, first.clip.end_s) == (0.5, 2.0)
    assert (first.label, first.label_name, first.split) == (-1.5, "sad", "train")
    assert (first.speaker, first.dialogue, first.utterance, first.language) == ("ann", "d1", 0, "en")
    assert first.extra == {"place": "left", "rating": 3.0}
    assert second.clip.path == Path("/media/b.wav")
    assert second.clip.start_s is None
    assert math.isnan(second.label)
    assert second.utterance == -1
    assert second.split == ""
    assert second.extra == {"place": "", "rating": 4.5}


ODD = "one\u2028two\u0085three\x0cfour\x1cfive"


def test_line_separators_of_unicode_are_part_of_a_text(tmp_path):
    table = write(tmp_path, f"id,path,text\na,a.wav,{ODD}\nb,b.wav,ok\n")
    lines = write(
        tmp_path,
        json.dumps({"id": "a", "path": "a.wav", "text": ODD}, ensure_ascii=False) + "\n",
        "manifest.jsonl",
    )
    assert [row.clip.text for row in read_manifest(table)] == [ODD, "ok"]
    assert [row.clip.text for row in read_manifest(lines)] == [ODD]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ('"label": true', "label 'True' is not a number"),
        ('"label": 1' + "0" * 400, "label"),
        ('"utterance": 1e300', "utterance 1e+300 is not a position"),
        ('"utterance": 0.5', "utterance 0.5 is not a position"),
        ('"text": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_values_that_are_no_numbers_are_refused(tmp_path, field, problem):
    path = write(tmp_path, f'{{"id": "a", "path": "a.wav", {field}}}\n', "manifest.jsonl")
    ((where, what),) = problems(path)
    assert where == "line 1"
    assert problem in what


def test_a_pipe_is_no_manifest(tmp_path):
    os.mkfifo(tmp_path / "manifest.csv")
    with pytest.raises(InputError, match="not a regular file"):
        read_manifest(tmp_path / "manifest.csv")


def test_json_lines_say_the_same(tmp_path):
    table = write(tmp_path, "id,path,text,label,split,take\na,a.wav,hello,1,test,2\n")
    record = {"id": "a", "path": "a.wav", "text": "hello", "label": 1, "split": "test", "take": 2}
    lines = write(tmp_path, "\n" + json.dumps(record) + "\n", "manifest.jsonl")
    (first,), (second,) = read_manifest(table), read_manifest(lines)
    assert (first.clip, first.label, first.split, first.extra) == (
        second.clip,
        second.label,
        second.split,
        second.extra,
    )


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    assert read_manifest(write(tmp_path, "\ufeffid,path\na,a.wav\n"))[0].clip.clip_id == "a"


def test_every_wrong_line_is_named(tmp_path):
    path = write(
        tmp_path,
        "id,path,label,split,start_s,end_s\n"
        "a,a.wav,1,train,,\n"
        "b,b.wav,happy,train,,\n"
        "c,c.wav,1,dev,,\n"
        "a,d.wav,1,test,,\n"
        "e,,1,test,,\n"
        "f,f.wav,1,test,3,2\n"
        "g,g.wav,nan,test,,\n",
    )
    found = dict(problems(path))
    assert list(found) == ["line 3", "line 4", "line 5", "line 6", "line 7", "line 8"]
    assert "label 'happy' is not a number" in found["line 3"]
    assert "label_name" in found["line 3"]
    assert "'dev'" in found["line 4"]
    assert "valid" in found["line 4"]
    assert found["line 5"] == "id 'a' was used in line 2"
    assert found["line 6"] == "'path' is empty"
    assert "from 3.0 s to 2.0 s is empty" in found["line 7"]
    assert "label 'nan' is not a number" in found["line 8"]


def test_a_thousand_wrong_lines_are_counted_not_printed(tmp_path):
    path = write(tmp_path, "id,path,label\n" + "".join(f"c{k},c.wav,x\n" for k in range(1000)))
    found = problems(path)
    assert len(found) == 21
    assert found[-1] == ("...", "980 more")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("id,text\na,b\n", "line 1", "no column 'path'"),
        ("", "line 1", "no column 'id'"),
        ("id,path\na,b,c\n", "line 2", "3 cells, but the header has 2"),
        ("id,path,text\na,b,c\nd,e\n", "line 3", "2 cells, but the header has 3"),
        ('id,path\na,"b\nc,d\n', "line 2", "a quote is opened and never closed"),
        ("id,path,id\na,b,c\n", "line 1", "the column 'id' stands there twice"),
    ],
)
def test_a_malformed_table_is_named(tmp_path, text, line, problem):
    ((where, what),) = problems(write(tmp_path, text))
    assert where == line
    assert problem in what


@pytest.mark.parametrize(("text", "problem"), [('{"id": "a"', "not JSON"), ("[1]", "not a JSON object")])
def test_malformed_json_is_named(tmp_path, text, problem):
    path = write(tmp_path, '{"id": "a", "path": "a.wav"}\n' + text + "\n", "manifest.jsonl")
    ((where, what),) = problems(path)
    assert where == "line 2"
    assert problem in what


def test_unreadable_and_empty_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv cannot be read"):
        read_manifest(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="no clips"):
        read_manifest(write(tmp_path, "id,path\n"))
    binary = tmp_path / "latin.csv"
    binary.write_bytes(b"id,path\n\xe9,a.wav\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_manifest(binary)
