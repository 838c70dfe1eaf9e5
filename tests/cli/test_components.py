"""`msakit components`: everything that can be named, for people and for programs."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.cli.commands import load_command
from msakit.core.registry.registry import load_registry

REGISTRY = load_registry(discover=False)
DATASETS = {spec.name: spec for spec in REGISTRY.datasets()}
NAMES = [
    *DATASETS,
    *(spec.name for spec in REGISTRY.backbones()),
    *sorted({spec.name for spec in REGISTRY.recipes()}),
    *sorted({spec.pattern or spec.short for spec in REGISTRY.components()} - {"prompt{tokens}"}),
]
PYTHON = re.compile(r"Source\(|Access\(|mappingproxy|frozenset|\{'|\['|\bNone\b|\bTrue\b|\bFalse\b")


def show(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["components", "show", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", [name.replace("{tokens}", "2") for name in NAMES])
def test_whatever_can_be_named_is_shown_and_is_json(name: str) -> None:
    content = json.loads(show(name, "--json"))
    assert content
    assert PYTHON.search(show(name)) is None


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_dataset_says_what_one_may_do_and_how_to_come_by_it(name: str) -> None:
    content = json.loads(show(name, "--json"))
    assert content["licence"]
    assert content["homepage"]
    assert content["files"]
    assert content["obtain"]
    shown = " ".join(show(name).split())
    assert content["licence"] in shown
    assert content["command"].split(" && ")[0] in shown


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_datasets_command_is_one_msakit_takes(name: str) -> None:
    access = DATASETS[name].access
    for command in access.command.split(" && "):
        program, *words = shlex.split(command)
        assert program == "msakit"
        parsed = load_command(words.pop(0))
        if "commands" in vars(parsed):
            parsed = parsed.commands[words.pop(0)]
        options = {option for parameter in parsed.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options
    if "import" in access.command:
        assert set(access.files) <= set(words)
        assert words[words.index("--dataset") + 1] == name


def test_a_backbone_says_whether_its_weights_are_pinned() -> None:
    shown = json.loads(show("qwen-1.8b", "--json"))
    assert shown["pinned"] == "no: the branch 'main' may change; set backbone.revision to a commit"
    assert "pinned" not in json.loads(show("tiny", "--json"))
