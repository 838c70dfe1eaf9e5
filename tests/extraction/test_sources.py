"""What a command line may name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from msakit.core.errors import ConfigError, InputError
from msakit.extraction.sources import find_clips, read_rows


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.mp4", "a.wav", "deep/c.MKV", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def found(*sources, lines=()) -> list[str]:
    return [str(clip.path) for clip in find_clips(map(str, sources), lines)]


def test_a_folder_is_searched_for_media(folder):
    assert found(folder) == [str(folder / name) for name in ("a.wav", "b.mp4", "deep/c.MKV")]


def test_patterns_files_and_standard_input_name_clips_once(folder):
    assert found(folder / "*.mp4", folder / "b.mp4") == [str(folder / "b.mp4")]
    assert found("-", lines=["one.mp4\n", "\n", "two words.mp4\n"]) == ["one.mp4", "two words.mp4"]
    assert found(folder / "notes.txt") == [str(folder / "notes.txt")]  # named, so tried


def test_a_manifest_gives_texts_and_stretches(folder):
    (folder / "m.csv").write_text("id,path,text,start_s,end_s\nx,b.mp4,hello,1,2\n")
    [clip] = find_clips([str(folder / "m.csv")])
    assert (clip.clip_id, clip.path, clip.text, clip.start_s, clip.end_s) == (
        "x", folder / "b.mp4", "hello", 1, 2,
    )  # fmt: skip


def test_what_names_nothing_is_refused(folder):
    with pytest.raises(InputError, match="no file matches this pattern"):
        found(folder / "*.avi")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no media files in this folder"):
        found(folder / "empty")
    (folder / "bad.csv").write_text("id\nx\n")
    with pytest.raises(ConfigError, match="no column 'path'"):
        found(folder / "bad.csv")


def test_names_that_are_no_utf8_can_be_written_down():
    names = [os.fsdecode(b"clips/\xff.wav"), os.fsdecode(b"clips/\xfe.wav")]
    clips = find_clips(["-"], [f"{name}\n" for name in names])
    assert [clip.path for clip in clips] == [Path(name) for name in names]
    assert [clip.clip_id for clip in clips] == ["clips/\\xff.wav", "clips/\\xfe.wav"]


def test_a_folder_is_a_manifest_without_labels(folder):
    (folder / "b.txt").write_text("so it\n goes\n")
    (folder / "a.mp3").touch()
    rows = read_rows(folder)
    assert [(row.id, row.text, row.split) for row in rows] == [
        ("a.mp3", "", ""),
        ("a.wav", "", ""),
        ("b", "so it goes", ""),
        ("deep/c", "", ""),
    ]
    assert rows[3].path == folder / "deep" / "c.MKV"
    assert [clip.text for clip in find_clips([str(folder)])] == ["", "", "so it goes", ""]
    (folder / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"b\.txt"):
        read_rows(folder)
