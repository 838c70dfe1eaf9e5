"""What attacks did: one row a family, printed as one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

NOTES_SHOWN = 10


@dataclass
class Tally:
    """Counts of one family; everything but `tried` must be 0.

    Attributes:
        tried: attacks made.
        executed: attacks that ran code of the attacker.
        hung: still running after the limit of time.
        heavy: took more than the limit of memory.
        traceback: died with a Python traceback, or of a signal nobody sent.
        wrong_code: ended with an exit code that does not fit what happened.
        lost: acknowledged samples, or files, that are gone.
        wrong: values that read differently from what was written, without an error.
        notes: a line for each failure.
    """

    tried: int = 0
    executed: int = 0
    hung: int = 0
    heavy: int = 0
    traceback: int = 0
    wrong_code: int = 0
    lost: int = 0
    wrong: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, kind: str, message: str, count: int = 1) -> None:
        """Count a failure of a kind, and say which attack it was."""
        setattr(self, kind, getattr(self, kind) + count)
        self.notes.append(f"{kind}: {message}")

    @property
    def clean(self) -> bool:
        """Whether every attack failed."""
        return not any(getattr(self, name) for name in FAILURES)


FAILURES = tuple(item.name for item in fields(Tally) if item.name not in ("tried", "notes"))


@dataclass(frozen=True)
class Family:
    """One family of attacks.

    Attributes:
        name: what stands in the table.
        run: makes about `trials` attacks in an empty folder, the same ones for the same seed.
        short: trials in the quick tests.
        full: trials of `make attack`.
    """

    name: str
    run: Callable[[Path, int, int], Tally]
    short: int
    full: int


def print_header() -> None:
    """Print the head of the table."""
    titles = ("tried", *FAILURES)
    print(f"{'attack':34}" + "".join(f"{title.replace('_', ' '):>12}" for title in titles), flush=True)


def print_row(name: str, tally: Tally) -> None:
    """Print a row, and what failed."""
    values = (getattr(tally, title) for title in ("tried", *FAILURES))
    print(f"{name:34}" + "".join(f"{value:>12}" for value in values), flush=True)
    for line in tally.notes[:NOTES_SHOWN]:
        print(f"    {line}", flush=True)
    if len(tally.notes) > NOTES_SHOWN:
        print(f"    and {len(tally.notes) - NOTES_SHOWN} more", flush=True)
