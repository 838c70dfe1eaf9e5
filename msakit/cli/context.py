"""Options that stand before the command, and the registry they lead to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msakit.core.registry.registry import Registry


@dataclass
class Options:
    """Options given before the command."""

    registry_files: list[Path] = field(default_factory=list)
    plugin_files: list[Path] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    traceback: bool = False

    def registry(self) -> Registry:
        """Every name these options lead to."""
        from msakit.core.registry.registry import load_registry

        return load_registry(self.registry_files, self.plugin_files)

    def arguments(self) -> list[str]:
        """These options as they stand on a command line, for a process beside this one."""
        words = [word for file in self.registry_files for word in ("--registry", str(file))]
        words += [word for file in self.plugin_files for word in ("--plugin", str(file))]
        words += [word for name in self.trusted for word in ("--trust-remote-code", name)]
        return [*words, "--traceback"] if self.traceback else words


options = Options()
