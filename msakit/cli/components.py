"""`msakit components`: everything with a name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from msakit.cli import completion
from msakit.cli.context import options
from msakit.cli.render import print_json, print_table
from msakit.cli.settings import AsJson
from msakit.core.errors import MsakitError, UnknownNameError
from msakit.core.registry.specs import Kind

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from msakit.core.registry.registry import Registry
    from msakit.core.registry.specs import BackboneSpec, ComponentSpec, DatasetSpec, RecipeSpec

_COMMIT = re.compile("[0-9a-f]{40}")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List and describe components, backbones, datasets and recipes.",
)

SECTIONS = (*(kind.value for kind in Kind), "dataset", "recipe")


@app.command("list", epilog="Example: msakit components list fuser")
def list_components(
    section: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(SECTIONS)}.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List components, backbones, datasets and recipes."""
    if section is not None and section not in SECTIONS:
        raise UnknownNameError("section", section, SECTIONS)
    rows = [row for row in _rows(options.registry()) if section in (None, row["kind"])]
    if as_json:
        print_json(rows)
        return
    print_table("", ("kind", "name", "full name", "summary"), [tuple(row.values()) for row in rows])


def _rows(registry: Registry) -> list[dict[str, str]]:
    rows = [
        _row(spec.kind.value, spec.pattern or spec.short, spec.full_name, spec.summary)
        for spec in registry.components()
        if spec.kind != Kind.BACKBONE
    ]
    rows += [_row("backbone", b.name, b.target, b.summary or _origin(b)) for b in registry.backbones()]
    rows += [_row("dataset", d.name, d.task, d.summary) for d in registry.datasets()]
    rows += [_row("recipe", r.name, f"{r.dataset} on {r.backbone}", r.source) for r in registry.recipes()]
    return sorted(rows, key=lambda row: SECTIONS.index(row["kind"]))


def _row(kind: str, name: str, full_name: str, summary: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "full_name": full_name, "summary": summary}


def _origin(backbone: BackboneSpec) -> str:
    return str(backbone.weights.get("repository", ""))


@app.command("show", epilog="Example: msakit components show tgm")
def show(
    name: Annotated[
        str,
        typer.Argument(help="A short or full name, of any kind.", autocompletion=completion.everything),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show everything about one name: source, settings with defaults, and which layer defines it."""
    registry = options.registry()
    found = [description for description in _descriptions(registry, name) if description]
    if not found:
        raise UnknownNameError(
            "name", name, (row["name"] for row in _rows(registry)), command="msakit components list"
        )
    if as_json:
        print_json(found if len(found) > 1 else found[0])
        return
    for description in found:
        settings = description.pop("settings", {})
        print_table("", ("", ""), [(key, _shown(value)) for key, value in description.items() if value])
        if settings:
            rows = [(key, _shown(s["default"]), s["type"], s["description"]) for key, s in settings.items()]
            print_table("\nSettings", ("setting", "default", "type", "meaning"), rows)


def _descriptions(registry: Registry, name: str) -> list[dict[str, Any]]:
    found = [_component(registry, spec) for spec in registry.components() if spec.match(name) is not None]
    described: dict[str, list[BackboneSpec] | list[DatasetSpec] | list[RecipeSpec]] = {
        "backbone": registry.backbones(),
        "dataset": registry.datasets(),
        "recipe": registry.recipes(),
    }
    for kind, specs in described.items():
        found += [{"kind": kind, **_fields(spec), **_pin(spec)} for spec in specs if spec.name == name]
    return found


def _pin(spec: BackboneSpec | DatasetSpec | RecipeSpec) -> dict[str, str]:
    """How firmly a backbone's weights are pinned."""
    weights = getattr(spec, "weights", {})
    if "repository" not in weights:
        return {}
    revision = str(weights.get("revision", "main"))
    if _COMMIT.fullmatch(revision):
        return {"pinned": f"to commit {revision}"}
    return {"pinned": f"no: the branch '{revision}' may change; set backbone.revision to a commit"}


def _fields(spec: BackboneSpec | DatasetSpec | RecipeSpec) -> dict[str, Any]:
    """A specification as JSON values; what describes its source and access stands beside the rest."""
    content = {field.name: _plain(getattr(spec, field.name)) for field in fields(spec)}
    for nested in ("source", "access"):
        if isinstance(content.get(nested), dict):
            content |= content.pop(nested)
    return content


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _component(registry: Registry, spec: ComponentSpec) -> dict[str, Any]:
    source = spec.source
    return {
        "kind": spec.kind.value,
        "name": spec.pattern or spec.short,
        "full name": spec.full_name,
        "summary": spec.summary,
        "paper": source.paper,
        "url": source.url,
        "code": source.code,
        "note": source.note,
        "class": spec.target,
        "capabilities": sorted(spec.capabilities),
        "needs extra": spec.extra,
        "licence": spec.licence,
        "defined in": registry.origins(spec)[-1],
        "file": _file_of(registry, spec),
        "settings": _settings(registry, spec),
    }


def _file_of(registry: Registry, spec: ComponentSpec) -> str:
    """File and line of the component's configuration, which can be found without importing torch."""
    try:
        config = registry.load_config_class(spec)
        return f"{inspect.getsourcefile(config)}:{inspect.getsourcelines(config)[1]}"
    except (MsakitError, OSError, TypeError):
        return ""


def _settings(registry: Registry, spec: ComponentSpec) -> dict[str, Any]:
    return {
        name: {
            "default": _default(field),
            "type": _type(field.annotation),
            "description": field.description or "",
        }
        for name, field in registry.load_config_class(spec).model_fields.items()
    }


def _default(field: FieldInfo) -> Any:
    default: Any = None if field.is_required() else field.get_default(call_default_factory=True)
    return default.model_dump(mode="json") if hasattr(default, "model_dump") else default


def _type(annotation: Any) -> str:
    """An annotation in words: "frozen or lora", "str or none", "list of int"."""
    arguments = get_args(annotation)
    if not arguments:
        return "none" if annotation is NoneType else str(getattr(annotation, "__name__", annotation))
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, arguments))
    words = " or ".join(_type(argument) for argument in arguments if argument is not ...)
    return words if get_origin(annotation) in (Union, UnionType) else f"list of {words}"


def _shown(value: Any) -> str:
    """A value for people to read; mappings as `key: value` lines."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_inline(item)}" for key, item in value.items())
    return _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inline(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
