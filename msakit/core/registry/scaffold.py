"""The start of a plugin package, for each kind of component."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from msakit.core.errors import InputError
from msakit.core.registry.specs import Kind

TEMPLATES = Path(__file__).parents[2] / "data" / "plugin_template"

# How the README tries a component out, and the pipeline in which it stands.
TRIES = {
    Kind.EXTRACTOR: "msakit extract clips.csv --store feats --audio $name",
    Kind.TRANSCRIBER: "msakit extract clips.csv --store feats --transcribe --transcriber $name",
    Kind.ENCODER: "msakit train pipeline.yaml --store demo",
    Kind.FUSER: "msakit train pipeline.yaml --store demo",
    Kind.INJECTOR: "msakit train pipeline.yaml --store demo",
    Kind.BACKBONE: "msakit train pipeline.yaml --store demo",
}
_CLIPS = "\n`clips.csv` is a manifest of yours: columns `id` and `path`, and `text` where it is known.\n"
NEEDS = {Kind.EXTRACTOR: _CLIPS, Kind.TRANSCRIBER: _CLIPS}
PARTS = {
    "encoders": "{audio: lstm, vision: lstm}",
    "fuser": "tgm",
    "injector": "pseudo6",
    "backbone": "tiny",
}


def write_plugin(name: str, folder: Path, kind: Kind = Kind.FUSER) -> list[Path]:
    """Write a working plugin package with one component; returns the files made.

    Args:
        name: The component's name, which the package takes.
        folder: Where the package's folder goes.
        kind: The kind of component.

    Raises:
        InputError: The name is no Python identifier in lower case, or the folder is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(f"'{name}' is not a lower-case Python name.", hint="Use something like my_fuser.")
    package = folder / f"msakit-{name.replace('_', '-')}"
    if package.exists():
        raise InputError(f"{package} exists.", hint="Choose another name or another --folder.")
    module, words = package / f"msakit_{name}", _words(name, kind)
    made = [
        _write(package / place, _fill(TEMPLATES / "shared" / f"{template}.txt", words))
        for template, place in {
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            "pipeline.yaml": "pipeline.yaml",
            "ci.yml": ".github/workflows/test.yml",
            "plugin.py": f"msakit_{name}/plugin.py",
        }.items()
    ]
    for template in sorted((TEMPLATES / kind).glob("*.txt")):
        file = template.name.removesuffix(".txt")
        place = package / "tests" / f"test_{kind}.py" if file == "test.py" else module / file
        made.append(_write(place, _fill(template, words)))
    return [*made, _write(module / "__init__.py", f'"""The {kind} {name} for msakit."""\n')]


def _words(name: str, kind: Kind) -> dict[str, str]:
    """The values for the templates' placeholders."""
    chosen = {
        Kind.ENCODER: {"encoders": f"{{audio: {name}, vision: {name}}}"},
        Kind.INJECTOR: {"injector": f"{name}4"},
    }
    parts = PARTS | chosen.get(kind, {kind.value: name} if kind.value in PARTS else {})
    return {
        "name": name,
        "dashed": name.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "kind": kind.value,
        "where": "" if kind is Kind.BACKBONE else f", `msakit_{name}/{kind}.py` what it does",
        "extra": "[extract]" if kind in (Kind.EXTRACTOR, Kind.TRANSCRIBER) else "",
        "shown": f"{name}4" if kind is Kind.INJECTOR else name,
        "needs": NEEDS.get(kind, ""),
        "try_it": TRIES[kind].replace("$name", name),
        "pipeline": "\n".join(f"{key}: {value}" for key, value in parts.items()),
    }


def _fill(template: Path, words: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(words)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
