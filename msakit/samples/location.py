"""Where a store is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

DEMO = "demo"


def locate_store(store: str | Path) -> Path:
    """The path of a store; `demo` means the shipped corpus, unless there is something of that name here."""
    path = Path(store).expanduser()
    if str(store) == DEMO and not path.exists():
        return demo_store()
    return path


def demo_store() -> Path:
    """The shipped demonstration corpus."""
    return Path(str(files("msakit"))) / "data" / "demo.h5"
