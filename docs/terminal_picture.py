"""The picture of a training in docs/images: `python docs/terminal_picture.py msakit train ...`.

It takes tmux, whose screen is what a reader sees, and rich, which draws it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent / "images" / "training.svg"
COLUMNS, LINES = 92, 60
SESSION = DONE = "msakit-picture"
WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main(words: list[str]) -> None:
    """Run a command on a terminal and keep what stands there when it has ended."""
    screen = Text.from_ansi(f"\x1b[1m$ {shlex.join(words)}\x1b[0m\n{run_on_terminal(words).rstrip()}")
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(screen)
    drawing = console.export_svg(title="msakit")
    PICTURE.write_text(WEB_FONT.sub("", drawing), encoding="utf-8")  # a page must not fetch fonts


def run_on_terminal(words: list[str]) -> str:
    """What a command leaves on a terminal of its own, with the escape sequences of colours."""
    command = f"{shlex.join(words)}; tmux wait-for -S {DONE}; sleep 60"
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    _tmux("new-session", "-d", "-s", SESSION, *size, command)
    try:
        _tmux("wait-for", DONE)
        return _tmux("capture-pane", "-e", "-p", "-t", SESSION)
    finally:
        _tmux("kill-session", "-t", SESSION)


def _tmux(*words: str) -> str:
    return subprocess.run(["tmux", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
