"""The plugin tutorial's package: found, built, and true to the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.testing.contracts import FuserContract

FOLDER = Path(__file__).parents[1] / "examples" / "plugin"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package on the path with the metadata an installation would write."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "msakit_gated-0.1.0.dist-info"
    metadata.mkdir()
    entries = "\n".join(f"{name} = {module}" for name, module in project["entry-points"]["msakit"].items())
    (metadata / "entry_points.txt").write_text(f"[msakit]\n{entries}\n")
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(FOLDER / "src"))
    monkeypatch.delenv("MSAKIT_PLUGINS", raising=False)


@pytest.mark.usefixtures("installed")
def test_its_fuser_is_listed_with_its_origin() -> None:
    result = CliRunner().invoke(app, ["components", "show", "gated", "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["full name"] == "gated_units.gated@1"
    assert shown["defined in"] == "plugin gated (msakit-gated 0.1.0)"
    assert shown["settings"]["size"]["default"] == 256


@pytest.mark.usefixtures("installed")
def test_a_pipeline_is_built_with_it() -> None:
    arguments = [
        "build",
        "--fuser",
        "gated",
        "--injector",
        "pseudo6",
        "--backbone",
        "tiny",
        "--dataset",
        "mosei",
        "--json",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    parts = {part["part"]: part["trainable"] for part in content["parts"]}
    hidden = 256 + 256 + _hidden_size(content)
    # One Linear from each stream and one gate from all of them, with biases.
    assert parts["fuser"] == (hidden * 256 + 3 * 256) + 3 * (hidden * 256 + 256)


@pytest.mark.usefixtures("installed")
def test_it_can_be_restricted_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSAKIT_PLUGINS", "")
    result = CliRunner().invoke(app, ["components", "show", "gated"])
    assert result.exit_code == 2


def test_its_own_tests_pass() -> None:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(FOLDER / "tests")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=FOLDER, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    rules = [name for name in dir(FuserContract) if name.startswith("test_")]
    assert f"{len(rules) + 1} passed" in result.stdout, "every rule of fusers and the package's own test"


def _hidden_size(content: dict) -> int:
    from msakit.core.registry.registry import load_registry

    architecture = (
        load_registry(discover=False).backbone(content["pipeline"]["backbone"]["name"]).architecture
    )
    return int(architecture["hidden_size"])
