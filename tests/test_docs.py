"""The documentation names everything there is, and says nothing that is not so."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from msakit.cli.commands import COMMANDS
from msakit.core.hooks import Hooks
from msakit.core.registry.registry import load_registry
from msakit.metrics import FAMILIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
COMMAND_LINE = re.compile(r"^\s*(?:\$ )?msakit ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
PUBLIC = {
    "msakit",
    "msakit.extraction",
    "msakit.feature_store",
    "msakit.feature_store.doctor",
    "msakit.feature_store.interchange",
    "msakit.metrics",
    "msakit.nn",
    "msakit.testing",
}
GENERATED = ("api.md", "cli.md", "components.md", "settings.md")
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.name not in GENERATED)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generate: ModuleType) -> dict[str, str]:
    return generate.pages()


def test_generated_pages_do_not_depend_on_where_they_are_made(pages: dict[str, str]) -> None:
    assert set(pages) == set(GENERATED)
    assert [name for name, text in pages.items() if str(ROOT) in text] == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_documented_with_an_example(pages: dict[str, str], command: str) -> None:
    section = pages["cli.md"].split(f"## `msakit {command}`\n")[1].split("\n## `")[0]
    groups = section.split("\n### `")
    for part in groups[1:] or groups:
        assert "Example" in part, part.splitlines()[0]


def test_every_registered_name_is_documented(pages: dict[str, str]) -> None:
    registry = load_registry(discover=False)
    text = pages["components.md"]
    names = [spec.pattern or spec.short for spec in registry.components() if spec.kind != "backbone"]
    names += [spec.name for section in (registry.backbones(), registry.datasets()) for spec in section]
    names += [recipe.name for recipe in registry.recipes()]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_hooks_are_documented_with_their_exact_signatures() -> None:
    text = (DOCS / "plugins" / "hooks.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(msakit_\w+\(.*?\) -> .*?)` \|", text, re.MULTILINE)
    signatures = []
    for name, function in inspect.getmembers(Hooks, inspect.isfunction):
        signature = inspect.signature(function)
        parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
        shown = ", ".join(f"{parameter.name}: {parameter.annotation}" for parameter in parameters)
        signatures.append(f"{name}({shown}) -> {signature.return_annotation}")
    assert sorted(documented) == sorted(signatures)


def test_every_metric_is_documented() -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    names = {metric.name for family in FAMILIES.values() for metric in family}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_the_text_exist(page: Path) -> None:
    from msakit.cli.commands import load_command

    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for command, child in COMMAND_LINE.findall(block):
            assert command in COMMANDS, f"msakit {command}"
            children = getattr(load_command(command), "commands", None)
            assert not children or child in children, f"msakit {command} {child}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_in_the_text_compiles(page: Path) -> None:
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        if block.startswith(">>>"):
            for example in doctest.DocTestParser().get_examples(block):
                compile(example.source, str(page), "single")
        else:
            compile(block, str(page), "exec")


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_python_in_the_text_imports_the_public_face_alone(page: Path) -> None:
    """So that files can move without a page being wrong."""
    blocks = "\n".join(PYTHON.findall(page.read_text(encoding="utf-8")))
    imported = re.findall(r"^\s*(?:>>> )?(?:from|import) (msakit[\w.]*)", blocks, re.MULTILINE)
    assert set(imported) <= PUBLIC


def test_the_metrics_example_runs() -> None:
    (block,) = PYTHON.findall((DOCS / "metrics.md").read_text(encoding="utf-8"))
    result = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True)
    error, accuracy, missing = map(float, result.stdout.split())
    assert (error, accuracy, missing) == (pytest.approx(0.7), pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed: list[str] = []

    def collect(node: object) -> None:
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else [node]:
            if isinstance(value, str):
                listed.append(value)
            else:
                collect(value)

    collect(settings["nav"])
    assert sorted(listed) == sorted([*GENERATED, *(str(page.relative_to(DOCS)) for page in PAGES)])
