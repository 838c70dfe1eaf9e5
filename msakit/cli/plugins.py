"""`msakit plugins`: list, check and start plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.render import print_json, print_table, print_text, say
from msakit.cli.settings import AsJson
from msakit.core.registry.specs import Kind

if TYPE_CHECKING:
    from msakit.core.registry.plugins import PluginReport

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, check and create plugins.",
)


@app.command("list", epilog="Example: msakit plugins list")
def list_plugins(*, as_json: AsJson = False) -> None:
    """List plugins and what each offers. MSAKIT_PLUGINS=-NAME leaves one out."""
    rows = [_row(report) for report in options.registry().manager.reports]
    if as_json:
        print_json(rows)
        return
    shown = [(row["plugin"], row["distribution"], row["state"], _offers(row)) for row in rows]
    print_table("", ("plugin", "distribution", "state", "offers"), shown)


def _row(report: PluginReport) -> dict[str, Any]:
    offers = report.offers
    return {
        "plugin": report.name,
        "distribution": report.distribution,
        "state": "broken" if report.error else "heavy" if report.imported else "ok",
        "error": report.error or "",
        "components": [f"{spec.kind} {spec.pattern or spec.short}" for spec in offers.components],
        "backbones": [spec.name for spec in offers.backbones],
        "datasets": [spec.name for spec in offers.datasets],
        "recipes": sorted({spec.name for spec in offers.recipes}),
        "published": len(offers.published),
    }


def _offers(row: dict[str, Any]) -> str:
    """A plugin's components, or what is wrong with it."""
    counts = {"backbones": len(row["backbones"]), "datasets": len(row["datasets"])}
    parts = [*row["components"], *(f"recipe {name}" for name in row["recipes"])]
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    parts += [f"{row['published']} published results"] if row["published"] else []
    return row["error"] or ", ".join(parts)


@app.command("check", epilog="Example: msakit plugins check")
def check(*, as_json: AsJson = False) -> None:
    """Check every plugin and every component it names; exit 1 if something is wrong."""
    from msakit.core.registry.check import check_registry

    registry = options.registry()
    problems = check_registry(registry)
    deprecated = [line for report in registry.manager.reports for line in report.deprecated]
    plugins, components = len(registry.manager.reports), len(registry.components())
    if as_json:
        print_json(
            {"plugins": plugins, "components": components, "problems": problems, "deprecated": deprecated}
        )
    else:
        for line in (*problems, *(f"deprecated: {line}" for line in deprecated)):
            print_text(line)
    if problems:
        raise typer.Exit(1)
    say(f"{plugins} plugins and {components} components checked, no problems.")


@app.command("new", epilog="Example: msakit plugins new my_encoder --kind encoder")
def new(
    name: Annotated[str, typer.Argument(help="Name of the component and its package, such as my_fuser.")],
    *,
    kind: Annotated[Kind, typer.Option(help="Kind of component.")] = Kind.FUSER,
    folder: Annotated[Path, typer.Option(help="Folder to create the package in.")] = Path(),
) -> None:
    """Create a plugin package: a working component with settings and tests, and a pipeline that uses it."""
    from msakit.core.registry.scaffold import write_plugin

    made = write_plugin(name, folder, kind)
    for path in made:
        print_text(str(path))
    say(f"Try it: cd {made[0].parent} && pip install -e '.[test]' && python -m pytest")
