"""Errors a user can act on.

MsakitError                 exit 1: the work failed
├── InputError              exit 2: what the user gave is wrong
│   ├── UnknownNameError    no component, dataset, backbone, ... of that name
│   ├── ConfigError         a pipeline or registry file is invalid (lists every problem)
│   ├── DataError           samples, labels or features do not fit the pipeline
│   └── MediaError          a media file cannot be decoded
├── MissingExtraError       an optional dependency is not installed
├── DivergedError           the training loss became NaN or infinite
└── PluginError             a plugin is broken

Interrupted                 exit 130 or 143: the user stopped it

Programming mistakes stay ordinary Python exceptions.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


MAX_PROBLEMS = 40


def shorten(text: str, length: int = 120) -> str:
    """A text for a message: as it is, or what it begins with."""
    return text if len(text) <= length else f"{text[:length]}..."


class MsakitError(Exception):
    """Base of every error msakit raises for its user.

    Args:
        message: What happened, naming the file and the key.
        hint: What to do about it, if there is one thing to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class Interrupted(KeyboardInterrupt):
    """The user stopped the work (Ctrl-C, or SIGTERM), and what was done is saved.

    Args:
        message: What is saved, and where.
        hint: How to go on.
        by_terminal: Whether it was Ctrl-C.
    """

    def __init__(self, message: str, *, hint: str, by_terminal: bool) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = 130 if by_terminal else 143


class InputError(MsakitError):
    """Invalid input from the user; nothing was done."""

    exit_code = 2


class UnknownNameError(InputError, LookupError):
    """A name that nothing installed answers to.

    Args:
        what: The kind of thing looked up, in the singular ("fuser").
        name: The unknown name.
        known: Every name that would have been accepted.
        command: The command that lists them.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, command: str | None = None) -> None:
        names = sorted(set(known))
        name = shorten(name)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        parts = [f"Did you mean: {', '.join(close)}?"] if close else []
        parts.append(f"Known: {', '.join(names[:20]) or '(none)'}{' ...' if len(names) > 20 else ''}.")
        if command:
            parts.append(f"List everything with: {command}")
        super().__init__(f"Unknown {what} '{name}'.", hint="\n".join(parts))


class ConfigError(InputError):
    """A configuration with one or more problems, all reported at once.

    Args:
        source: The file (or other origin) the configuration came from.
        problems: Pairs of the dotted key and what is wrong with it.
    """

    def __init__(self, source: str, problems: Sequence[tuple[str, str]], *, hint: str | None = None) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = [
            f"  {shorten(key) or '(top level)'}: {shorten(problem, 500)}"
            for key, problem in self.problems[:MAX_PROBLEMS]
        ]
        if len(self.problems) > MAX_PROBLEMS:
            lines.append(f"  ... and {len(self.problems) - MAX_PROBLEMS:,} more")
        super().__init__("\n".join([f"{source} is not valid:", *lines]), hint=hint)


class DataError(InputError):
    """Samples, labels or features that do not fit what is asked of them."""


class MediaError(InputError):
    """A media file that cannot be read or decoded."""


class MissingExtraError(MsakitError):
    """An optional dependency is missing.

    Args:
        feature: What needs it ("the extractor 'blendshapes'").
        module: The module that could not be imported.
        extra: The msakit extra that installs it.
    """

    def __init__(self, feature: str, module: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package '{module}', which is not installed.",
            hint=f"Install it with: pip install 'msakit[{extra}]'",
        )


class DivergedError(MsakitError):
    """A training whose loss became NaN or infinite."""


class PluginError(MsakitError):
    """A plugin package that cannot be used."""
