"""The start of a plugin package."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from msakit.core.errors import InputError

TEMPLATES = Path(__file__).parents[2] / "data" / "plugin_template"


def write_plugin(name: str, folder: Path) -> list[Path]:
    """Write a working plugin package with one fuser; returns the files made.

    Raises:
        InputError: The name is no Python identifier in lower case, or the folder is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"'{name}' is not a lower-case Python name.", hint="Use something like my_fuser.")
    package = folder / f"msakit-{name.replace('_', '-')}"
    if package.exists():
        raise InputError(f"{package} exists.", hint="Choose another name or another --folder.")
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
    }
    module = f"msakit_{name}"
    places = {
        "pyproject.toml": package,
        "README.md": package,
        "plugin.py": package / module,
        "config.py": package / module,
        "fuser.py": package / module,
        "test_fuser.py": package / "tests",
    }
    made = [_write(place / file, _fill(file, words)) for file, place in places.items()]
    return [*made, _write(package / module / "__init__.py", f'"""The fuser {name} for msakit."""\n')]


def _fill(file: str, words: dict[str, str]) -> str:
    return Template((TEMPLATES / f"{file}.txt").read_text(encoding="utf-8")).substitute(words)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
