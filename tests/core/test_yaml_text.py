"""YAML: what it means, and what is refused before it costs anything."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

import msakit
from msakit.core.errors import ConfigError, InputError
from msakit.core.files import parse_value, read_yaml
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.yaml_text import YamlProblem, parse_yaml

SHIPPED = sorted(Path(msakit.__file__).parents[1].glob("msakit/**/*.yaml"))
SHIPPED += sorted(Path(msakit.__file__).parents[1].glob("examples/**/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_mean_what_another_reader_says(path):
    text = path.read_text(encoding="utf-8")
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "a: 1",
        "- [1, 0x1f, 0b11, 0o7, 1_000, 1:30]",
        "- [1.5, .inf, -.INF, 5e-4, 5.0e-4, true, No, null, '', '1', \"a\\tb\"]",
        "- |\n  lines\n  more\n- >\n  folded\n  text\n",
        "a: &x {k: 1, l: [2]}\nb: *x\nc: {<<: *x, k: 3}",
        "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y], n: 4}",
        "2: a\ntrue: b\n~: c\n1.5: d",
        "? a\n: b",
        "!!str 1",
        "!!int '7'",
        "- !!map {a: 1}",
        "---\na: 1\n...\n",
        "text: 好电影",
    ],
)
def test_values_are_those_of_yaml(text):
    assert parse_yaml(text) == yaml.safe_load(text)


LIST_BOMB = "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
MAP_BOMB = "a0: &a0 {k: v, l: v}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}\n" for i in range(1, 10)
)
MERGE_BOMB = "a0: &a0 {k: v, l: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LIST_BOMB, "more than 100,000 values"),
        (MAP_BOMB, "more than 100,000 values"),
        (MERGE_BOMB, "more than 100,000 values"),
        ("a: " + "[" * 200_000, "more than 64 levels"),
        ("a: " + "{a: " * 200_000, "more than 64 levels"),
        ("- " * 200_000, "more than 64 levels"),
        ("? " * 200_000, "more than 64 levels"),
        ("a: &a {b: *a}", "stands for nothing"),
        ("a: &a [*a]", "stands for nothing"),
        ("a: &x [1]\nb: &x [2]\nc: *x", "line 2: &x stands there twice"),
        ("a: *b", "stands for nothing"),
        ("a: " + "x" * (1 << 20), "more than 1,048,576 characters"),
        ("[" + "1," * 150_000 + "]", "more than 100,000 values"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands there twice"),
        ("a: !!python/object/apply:os.system ['true']", "the tag"),
        ("!own {a: 1}", "the tag"),
        ("[a]: 1", "cannot be a key"),
        ("a: {<<: 3}", "<< takes a mapping"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: " + "1" * 5000, "is not of the type"),
        ("!!int x", "is not of the type"),
        ("a: [1", "line 2: not YAML"),
        ("a: \x00", "not YAML"),
        ("a: 'x", "not YAML"),
        ("%TAG ! x\n---\n!y z", "the tag"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.timeout(120, func_only=True)
def test_what_is_refused_costs_little_and_is_not_printed(text, problem):
    started = time.process_time()
    with pytest.raises(YamlProblem) as caught:
        parse_yaml(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.process_time() - started < 5


def test_problems_name_the_file_and_print_no_value_whole(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(LIST_BOMB)
    with pytest.raises(ConfigError, match=str(path)):
        read_yaml(path)
    path.write_text(f"fuser: {{name: {'x' * 5000}}}\n{'k' * 5000}: [{', '.join(['yyyyyyyy'] * 5000)}]\n")
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(read_yaml(path), str(path))
    assert len(str(caught.value)) < 3000
    path.write_text("".join(f"k{index}: 1\n" for index in range(5000)))
    with pytest.raises(ConfigError, match="more") as caught:
        parse_pipeline(read_yaml(path), str(path))
    assert len(str(caught.value)) < 6000
    with pytest.raises(ConfigError):
        parse_value("[" * 200_000)


def test_pipes_devices_folders_and_other_bytes_are_no_yaml(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "bytes", tmp_path / "absent"):
        with pytest.raises(InputError, match=str(path)):
            read_yaml(path)
