"""The shape of the code: nothing so long that it must be scrolled through, everything documented."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "msakit"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 333
LONGEST_FUNCTION = 57


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_no_file_is_too_long() -> None:
    lengths = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_too_long(trees: dict[str, ast.Module]) -> None:
    lengths = {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_no_two_modules_of_a_folder_differ_by_a_letter() -> None:
    """`catalog.py` beside `catalogue.py` sends everybody to the wrong one."""
    close = []
    for folder in {path.parent for path in MODULES}:
        stems = sorted(path.stem for path in folder.glob("*.py"))
        close += [(a, b) for a in stems for b in stems if a < b and (b == f"{a}s" or a == f"{b}s")]
    assert close == []
