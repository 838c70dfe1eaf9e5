"""The state of the working tree, asked of git in a way that runs nothing a checkout brings along."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_TIMEOUT_S = 10
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether files differ from it, or None outside a git checkout.

    The configuration of a checkout can name programs (hooks, core.fsmonitor, filters), and checkouts travel.
    So its files are compared through a git directory of our own, which has the checkout's objects and index
    and none of its configuration.
    """
    asked = ("--show-toplevel", "--git-path", "objects", "--git-path", "index")
    try:
        commit = _git("-C", str(folder), "rev-parse", "HEAD")
        places = _git("-C", str(folder), "rev-parse", "--path-format=absolute", *asked)
        tree, objects, index = places.splitlines()
        with tempfile.TemporaryDirectory(prefix="msakit-git-") as own:
            _make_git_directory(Path(own), commit)
            changed = _git(
                "status",
                "--porcelain",
                "--ignore-submodules=all",
                GIT_DIR=own,
                GIT_WORK_TREE=tree,
                GIT_OBJECT_DIRECTORY=objects,
                GIT_INDEX_FILE=index,
                GIT_OPTIONAL_LOCKS="0",
            )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "modified": bool(changed)}


def _make_git_directory(folder: Path, commit: str) -> None:
    """An empty git directory that stands at a commit."""
    (folder / "refs").mkdir()
    (folder / "objects").mkdir()
    (folder / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
    (folder / "config").write_text(_CONFIG, encoding="utf-8")


def _git(*arguments: str, **variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    finished = subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
        env={**inherited, **variables},
    )
    return finished.stdout.strip()
