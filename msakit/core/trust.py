"""Whose code may run: what the user named on the command line or in their own configuration.

Consent is the user's, for this process. Nothing read from a pipeline, a run, a checkpoint or a registry file
that travels reaches this module, so none of them can grant it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from msakit.core.errors import InputError

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")
_DEFAULT_REVISIONS = (None, "main")

_trusted: set[str] = set()


def trust_remote_code(*names: str) -> None:
    """Let code that comes with these models run, from now on in this process.

    Args:
        names: Hub repositories as ORG/NAME (of a revision: ORG/NAME@REVISION); folders as /path, ./path or
            ~/path, so that no local folder can pass for a repository of the hub.

    Raises:
        InputError: One is neither.
    """
    for name in names:
        if name.startswith(("/", ".", "~")):
            _trusted.add(str(Path(name).expanduser().resolve()))
        elif _REPOSITORY.fullmatch(name):
            _trusted.add(name.removesuffix("@main"))
        else:
            raise InputError(
                f"--trust-remote-code '{name}' is neither a repository of the hub nor a folder.",
                hint="Write ORG/NAME, ORG/NAME@REVISION, /path/of/a/folder or ./folder.",
            )


@dataclass(frozen=True, slots=True)
class CodeSource:
    """Where code of a model would come from.

    Attributes:
        name: What the user writes to let it run.
    """

    name: str

    @classmethod
    def folder(cls, folder: Path) -> CodeSource:
        """Code in a local folder."""
        return cls(str(folder.expanduser().resolve()))

    @classmethod
    def repository(cls, repository: str, revision: str | None) -> CodeSource:
        """Code in a repository of the hub; anybody can propose a revision, so each is its own source."""
        return cls(repository if revision in _DEFAULT_REVISIONS else f"{repository}@{revision}")

    @property
    def trusted(self) -> bool:
        """Whether the user lets it run."""
        return self.name in _trusted

    @property
    def remedy(self) -> str:
        """How the user would let it run."""
        return f"If you trust its authors: msakit --trust-remote-code {self.name} ..."
