"""Write the pages that are read off the program: api.md, cli.md, components.md, settings.md.

`make docs` runs it before it builds the site; the pages are not committed.
"""

from __future__ import annotations

import html
import importlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument

from msakit.cli.commands import COMMANDS, load_command
from msakit.core.pipeline.config import PipelineConfig
from msakit.core.registry.registry import Registry, load_registry
from msakit.core.registry.specs import ComponentSpec, Kind

FACE = ("msakit", "msakit.feature_store", "msakit.metrics", "msakit.nn", "msakit.testing")
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")
FOLDER = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py; edit the program instead. -->\n"


def pages() -> dict[str, str]:
    """File name to content of every generated page."""
    registry = load_registry(discover=False)
    return {
        "api.md": api_page(),
        "cli.md": cli_page(),
        "components.md": components_page(registry),
        "settings.md": settings_page(),
    }


# The command line


def cli_page() -> str:
    """Every command with its arguments, options and example."""
    head = (
        "# Command line\n\n"
        "Data goes to stdout, everything else to stderr. Exit code 0: done, 1: failed, 2: bad input. "
        "Options before the command: `--registry FILE` and `--plugin FILE` add names, `--traceback` shows "
        "where an error came from.\n"
    )
    sections = [text for name in COMMANDS for text in _command(f"msakit {name}", load_command(name))]
    return NOTE + "\n".join([head, *sections])


def _command(path: str, command: Any) -> Iterator[str]:
    commands = getattr(command, "commands", None)
    yield f"## `{path}`\n\n{_paragraphs(command.help)}\n"
    if commands:
        for name, child in commands.items():
            yield from (text.replace("## `", "### `", 1) for text in _command(f"{path} {name}", child))
        return
    shown = [parameter for parameter in command.params if parameter.expose_value and not parameter.hidden]
    arguments = [parameter for parameter in shown if isinstance(parameter, TyperArgument)]
    usage = " ".join([path, *["[OPTIONS]"] * (len(shown) > len(arguments)), *map(_usage, arguments)])
    yield f"```\n{usage}\n```\n"
    rows = [(_name(parameter), _default(parameter), _paragraphs(parameter.help)) for parameter in shown]
    if rows:
        yield _table(("", "default", "meaning"), rows)
    if command.epilog:
        yield f"{_example(command.epilog)}\n"


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if isinstance(parameter, TyperArgument):
        return f"`{_usage(parameter)}`"
    value = "" if parameter.is_flag else f" {(parameter.metavar or parameter.opts[0].lstrip('-')).upper()}"
    return ", ".join(f"`{flag}{value}`" for flag in parameter.opts)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = getattr(parameter.default, "value", parameter.default)
    if isinstance(value, Path) and value.is_relative_to(FOLDER.parent):
        value = value.relative_to(FOLDER.parent)
    return "" if value in (None, False, (), "") else f"`{value}`"


def _example(epilog: str) -> str:
    label, _, example = epilog.partition(": ")
    return f"{label}:\n\n```\n{example}\n```" if example else epilog


def _paragraphs(text: str | None) -> str:
    blocks = (text or "").strip().split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks)


# The catalogue


def components_page(registry: Registry) -> str:
    """Every registered name, and the settings of every component."""
    parts = [
        "# Components\n\nWhat msakit ships. `msakit components list` adds what your plugins and registry "
        "files bring, `msakit components show NAME` shows one of them with the file it stands in.\n"
    ]
    for kind in Kind:
        specs = registry.components(kind)
        if kind is not Kind.BACKBONE and specs:
            parts.append(f"## {kind.value.capitalize()}s\n")
            parts += [_component(registry, spec) for spec in specs]
    parts.append("## Backbones\n")
    backbones = [(f"`{b.name}`", b.summary, b.licence, ", ".join(b.languages)) for b in registry.backbones()]
    parts.append(_table(("name", "", "licence of the weights", "languages"), backbones))
    parts += [_component(registry, spec) for spec in registry.components(Kind.BACKBONE)]
    parts.append("## Datasets\n")
    datasets = [
        (f"`{d.name}`", d.summary, d.task, d.language, ", ".join(f"{m} {w}" for m, w in d.features.items()))
        for d in registry.datasets()
    ]
    parts.append(_table(("name", "", "task", "language", "feature widths"), datasets))
    parts.append(
        "## Recipes\n\nA paper's settings: `msakit build --recipe NAME --dataset .. --backbone ..`.\n"
    )
    recipes = [(f"`{r.name}`", f"`{r.dataset}`", f"`{r.backbone}`", r.source) for r in registry.recipes()]
    parts.append(_table(("name", "dataset", "backbone", "settings from"), recipes))
    return NOTE + "\n".join(parts)


def _component(registry: Registry, spec: ComponentSpec) -> str:
    source = ". ".join(text.rstrip(".") for text in (spec.source.paper, spec.source.note) if text)
    link = f" [{spec.source.url}]({spec.source.url})" if spec.source.url else ""
    lines = [f"### `{spec.pattern or spec.short}`\n", f"{spec.summary}. `{spec.full_name}`"]
    if spec.extra:
        lines.append(f"Needs `pip install 'msakit[{spec.extra}]'`.")
    if source or link:
        lines.append(f"{source}.{link}")
    config = registry.load_config_class(spec)
    tables = [_table(("setting", "default", "meaning"), _fields(config))]
    tables += [
        f"`{name}`:\n\n{_table(('setting', 'default', 'meaning'), _fields(nested))}"
        for name, nested in _nested(config).items()
    ]
    return "\n\n".join([lines[0].rstrip(), *lines[1:], "\n".join(tables)])


# The Python face


def api_page() -> str:
    """Every public name with its signature and docstring."""
    parts = [
        "# Python reference\n\nThe public names, from their docstrings; what is not here may move without "
        "notice. [From Python](python.md) shows them at work.\n"
    ]
    for path in FACE:
        module = importlib.import_module(path)
        parts.append(f"## `{path}`\n\n{_docstring(module)}\n")
        for name in _public(module):
            parts += _documented(name, getattr(module, name))
    return NOTE + "\n".join(parts)


def _public(module: ModuleType) -> list[str]:
    """`__all__`, or what the module itself defines."""
    own = [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    names = getattr(module, "__all__", own)
    return [name for name in names if not name.startswith("_")]


def _documented(name: str, thing: Any) -> Iterator[str]:
    yield f"### `{name}`\n"
    if inspect.isfunction(thing):
        yield f"```text\n{_call(name, thing)}\n```\n"
    yield f"{_docstring(thing)}\n"
    if not inspect.isclass(thing):
        return
    for method, value in vars(thing).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if method.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        yield f"#### `{name}.{method}`\n\n```text\n{_call(method, function)}\n```\n\n{_docstring(function)}\n"


def _call(name: str, function: Any) -> str:
    """A signature, one parameter a line where it is long."""
    signature = inspect.signature(function)
    shown = [_parameter(p) for p in signature.parameters.values() if p.name not in ("self", "cls")]
    line = f"{name}({', '.join(shown)})"
    gives = signature.return_annotation
    result = "" if gives is inspect.Signature.empty else f" -> {gives}"
    if len(line + result) > 80:
        line = "\n".join([f"{name}(", *(f"    {each}," for each in shown), ")"])
    return line + result


def _parameter(parameter: inspect.Parameter) -> str:
    """`name: type = default`, the type unquoted."""
    name, equals, default = str(parameter.replace(annotation=parameter.empty)).partition("=")
    typed = f"{name}: {parameter.annotation}" if isinstance(parameter.annotation, str) else name
    return f"{typed} = {default}" if equals else typed


def _docstring(thing: Any) -> str:
    """A Google docstring as Markdown: sections become lists, indented code a block."""
    lines = []
    for block in (inspect.getdoc(thing) or "").split("\n\n"):
        title, _, rest = block.partition("\n")
        if title in SECTIONS and rest:
            entries = re.split(r"\n(?=    \S)", "\n" + rest)[1:]
            lines.append(f"*{title}*\n\n" + "\n".join(_entry(each) for each in entries))
        elif block.startswith("    "):
            lines.append(f"```text\n{inspect.cleandoc(block)}\n```")
        else:
            lines.append(html.escape(" ".join(block.split()), quote=False))
    return "\n\n".join(lines)


def _entry(text: str) -> str:
    name, colon, meaning = " ".join(text.split()).partition(": ")
    return (
        f"- `{name}`: {html.escape(meaning, quote=False)}" if colon else f"- {html.escape(name, quote=False)}"
    )


# The pipeline file


def settings_page() -> str:
    """Every key of pipeline.yaml."""
    head = (
        "# Keys of pipeline.yaml\n\nUnknown keys are refused, and every problem is reported at once. A "
        "component is its name, or a mapping with `name` and the settings listed under "
        "[components](components.md).\n"
    )
    parts = [head, _table(("key", "default", "meaning"), _fields(PipelineConfig))]
    for name, nested in _nested(PipelineConfig).items():
        parts.append(f"## {name}\n\n{_paragraphs(nested.__doc__)}\n")
        parts.append(_table(("key", "default", "meaning"), _fields(nested)))
    return NOTE + "\n".join(parts)


def _nested(config: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields that are mappings of their own; a component's mapping is described elsewhere."""
    kinds = {name: field.annotation for name, field in config.model_fields.items()}
    return {
        name: kind
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and "name" not in kind.model_fields
    }


def _fields(config: type[BaseModel]) -> list[tuple[str, str, str]]:
    rows = []
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required() or default is PydanticUndefined:
            shown = "required"
        else:
            shown = "see below" if isinstance(default, BaseModel) else f"`{_literal(default)}`"
        rows.append((f"`{name}`", shown, field.description or ""))
    return rows


def _literal(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, default=list)


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [" | ".join(_cell(cell) for cell in row) for row in rows]
    columns = list(header)
    head = [" | ".join(columns), " | ".join(["---"] * len(columns))]
    return "".join(f"| {line} |\n" for line in [*head, *lines]) if lines else "No settings.\n"


def _cell(text: str) -> str:
    """Text on one line, with what Markdown and HTML would take for their own escaped outside `code`."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else html.escape(part, quote=False) for index, part in enumerate(parts))


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        typer.echo(f"docs/{name}", err=True)


if __name__ == "__main__":
    main()
