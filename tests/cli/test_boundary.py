"""Where commands end: every failure is a message and an exit code, and nothing acts on the terminal."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from msakit.cli import render
from msakit.cli.app import app
from msakit.cli.failures import explain
from msakit.cli.visible import visible
from msakit.core.atomic import write_atomically
from msakit.core.errors import InputError
from msakit.feature_store import StoreError


def run(*arguments):
    """Exit code, stdout and stderr; no exception leaves the command line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def failing(monkeypatch):
    """Make `msakit build` fail with an exception."""

    def arrange(error):
        application = typer.Typer(add_completion=False)

        @application.command()
        def build() -> None:
            raise error

        monkeypatch.setattr(
            "msakit.cli.commands.load_command", lambda name: typer.main.get_command(application)
        )

    return arrange


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/proc/x"), 2, "/proc/x: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"/a"), 2, "/a: No such file"),
        (OSError(errno.ENOSPC, "No space left on device", "/b"), 1, "Free some space"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "ulimit -n"),
        (RuntimeError("Symlink loop from '/c'"), 2, "Symlink loop from '/c'. Check the path."),
        (OSError("odd"), 1, "Unexpected: OSError: odd"),
        (MemoryError(), 1, "memory"),
        (TypeError("x" * 9000), 1, "msakit --traceback"),
        (RecursionError("deep"), 1, "Unexpected: RecursionError"),
        (SystemExit(0), 1, "ends the program"),
        (InputError("bad \x1b[31m file", hint="do \x07 this"), 2, "bad \\x1b[31m file"),
        (StoreError("[/markup] and :bug:", ""), 2, "[/markup] and :bug:"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_has_a_message_and_a_code(failing, error, code, said):
    failing(error)
    found, stdout, stderr = run("build")
    assert found == code
    assert said in stderr.replace("\n", " ")
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "\x1b" not in stderr
    assert len(stderr) < 5000


def test_a_traceback_is_shown_on_request(failing):
    failing(TypeError("odd"))
    assert "Traceback" in run("--traceback", "build")[2]


def test_a_closed_pipe_and_usage_errors_are_the_command_lines_own(failing):
    failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert run("build")[2] == ""
    assert run("build", "--nonsense")[0] == 2


def test_ctrl_c_is_no_failure(failing):
    failing(KeyboardInterrupt())
    assert run("build")[0] == 130


def test_paths_that_cannot_be_are_named(tmp_path):
    for place in ("/proc/x", "/dev/null/x", tmp_path / ("n" * 300)):
        code, _, stderr = run("plugins", "new", "mine", "--folder", place)
        assert code == 2, stderr
        assert str(place)[:20] in stderr.replace("\n", "")


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\r", "\x9b", "\x7f", "\u202e", "\ud800"])
def test_nothing_shown_acts_on_the_terminal(capsys, character):
    text = f"a{character}b"
    render.print_table(text, (text,), [(text,)])
    render.print_json({text: text})
    render.print_text(text)
    render.say(text)
    render.print_error(text, text)
    shown = "".join(capsys.readouterr())
    assert character not in shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert visible("tab\tline\n好 é") == "tab\tline\n好 é"


def test_json_with_escapes_means_the_same(capsys):
    content = {"id": "\x9b\x1b\u202e好\x7f"}
    render.print_json(content)
    assert json.loads(capsys.readouterr().out) == content


def test_a_clip_named_like_markup_is_shown_as_it_is(capsys):
    with render.progress_bar() as bar:
        bar.add_task("[/x]", total=1, note="[/red]")
    render.say("[/y]")
    assert "[/y]" in capsys.readouterr().err


def test_a_progress_bar_without_a_terminal_starts_no_thread(capsys):
    before = threading.active_count()
    with render.progress_bar() as bar:
        bar.add_task("reading", total=1, note="")
        assert threading.active_count() == before
    assert "reading" in capsys.readouterr().err


def test_other_exceptions_never_fail_to_be_explained():
    class Speechless(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert "Speechless" in explain(Speechless()).message
    assert explain(OSError(errno.EACCES, os.strerror(errno.EACCES), Path("/x"))).exit_code == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ("build", "--dataset", "mosei", "--fuser", "tgm", "--backbone", "hf:../../no-such-folder"),
            "no repository of the hub",
        ),
        (("plugins", "new", "class", "--folder", "{folder}"), "not a lower-case Python name"),
        (("predict", "nothing", "--text", "hi", "--set", "novalue"), "--set is for the transcriber"),
    ],
)
def test_what_no_command_can_mean_is_bad_input(tmp_path, line, words):
    code, _, stderr = run(*(word.format(folder=tmp_path) for word in line))
    assert code == 2
    assert words in stderr.replace("\n", " ")


def test_an_empty_path_names_no_file():
    with pytest.raises(InputError, match="names no file"):
        write_atomically(Path(), lambda path: path.touch())
