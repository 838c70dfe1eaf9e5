"""Code of other repositories that a checkpoint asks for, found before anything of it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError
from msakit.core.files import read_json
from msakit.core.trust import CodeSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAPS = ("config.json", "tokenizer_config.json", "processor_config.json")
_ELSEWHERE = "--"  # "ORG/NAME--module.Class" in an auto_map is code of another repository


def check_code(folder: Path) -> None:
    """See that a checkpoint whose own code may run does not bring in a third party's.

    Raises:
        InputError: It names a repository that the user has not.
    """
    for file in (folder / name for name in _MAPS if (folder / name).is_file()):
        for target in _targets(read_json(file).get("auto_map")):
            repository, elsewhere, _ = target.partition(_ELSEWHERE)
            source = CodeSource.repository(repository, None)
            if elsewhere and not source.trusted:
                raise InputError(
                    f"{file} asks for code of another repository ('{repository[:80]}'), which is refused "
                    "unless you name it too.",
                    hint=source.remedy,
                )


def _targets(auto_map: Any) -> Iterator[str]:
    """Every "module.Class" of an auto_map, which is a text, a list or a mapping of them."""
    if isinstance(auto_map, str):
        yield auto_map
    elif isinstance(auto_map, dict | list):
        for item in auto_map.values() if isinstance(auto_map, dict) else auto_map:
            yield from _targets(item)
