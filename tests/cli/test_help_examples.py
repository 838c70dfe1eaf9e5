"""Every example in `--help` is a command line that its command takes, with options and values it knows."""

from __future__ import annotations

import shlex

import click
import pytest

from msakit.cli.commands import COMMANDS, load_command


def examples():
    for name in COMMANDS:
        command = load_command(name)
        parts = getattr(command, "commands", None) or {"": command}
        for part in parts.values():
            yield pytest.param(name, part, id=f"{name} {part.name}".strip())


@pytest.mark.parametrize(("name", "command"), list(examples()))
def test_an_example_is_taken_by_its_command(name: str, command: click.Command) -> None:
    line = (command.epilog or "").removeprefix("Example: ").splitlines()[0]
    words = shlex.split(line.partition(";")[0])
    assert words[:2] == ["msakit", name]
    arguments = words[3:] if words[2:3] == [command.name] and command.name != name else words[2:]
    with command.make_context(name, arguments, resilient_parsing=False):
        pass
