"""The working tree's state, from checkouts that are ordinary and that are not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from msakit.runs.git_state import git_state


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *names, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("one\n")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "first")
    return folder


def test_commit_and_changes_are_found(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == {"commit": commit, "modified": False}
    (checkout / "file").write_text("two\n")
    assert git_state(checkout) == {"commit": commit, "modified": True}
    git(checkout, "add", "file")
    git(checkout, "commit", "-qm", "second")
    assert git_state(checkout)["modified"] is False
    (checkout / "new").write_text("")
    assert git_state(checkout)["modified"] is True


def test_a_linked_worktree_has_a_state_of_its_own(checkout, tmp_path):
    git(checkout, "worktree", "add", "-q", str(tmp_path / "linked"))
    (checkout / "file").write_text("two\n")
    assert git_state(tmp_path / "linked")["modified"] is False
    assert git_state(checkout)["modified"] is True


def test_a_folder_outside_git_has_none(tmp_path):
    assert git_state(tmp_path) is None


def test_nothing_that_a_checkout_names_is_run(checkout, tmp_path):
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    hooks = checkout / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / name).write_text(program.read_text())
        (hooks / name).chmod(0o755)
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process"):
        git(checkout, "config", key, str(program))
    for key in ("core.sshCommand", "diff.external", "core.pager", "core.editor", "core.askPass"):
        git(checkout, "config", key, str(program))
    (checkout / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (checkout / "file").write_text("two\n")
    git_state(checkout)
    assert not ran.exists()
    subprocess.run(["git", "-C", str(checkout), "status"], capture_output=True, check=False)
    assert ran.exists(), "the trap itself works"
