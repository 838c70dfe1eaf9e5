"""A built-in plugin's folder is a package of its own without a changed line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import msakit
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import WIDTHS, tiny_pipeline

PLUGINS = Path(msakit.__file__).parent / "plugins"
FOLDERS = sorted(path.parent for path in PLUGINS.glob("*/plugin.py"))


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plugins/cmpta` installed as the package `cmpta_alone`, the built-in one left out."""
    shutil.copytree(PLUGINS / "cmpta", tmp_path / "cmpta_alone")
    metadata = tmp_path / "cmpta_alone-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: cmpta-alone\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text("[msakit]\ncmpta = cmpta_alone.plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MSAKIT_PLUGINS", "-cmpta")


@pytest.mark.usefixtures("moved")
def test_cmpta_trains_from_a_package_of_its_own(store: Path, tmp_path: Path) -> None:
    registry = load_registry()
    small = {"hidden_size": 8, "output_size": 16}
    content = tiny_pipeline(
        encoders={name: {"name": "bilstm", **small} for name in WIDTHS},
        fuser={"name": "cmpta", "size": 16, "num_heads": 2},
        injector="pseudo6",
    )
    resolved = resolve(parse_pipeline(content, "test"), registry)
    trained = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry)
    assert type(trained.pipeline.adapter.fuser).__module__ == "cmpta_alone.fuser"
    assert registry.origins(resolved.fuser.spec) == ["plugin cmpta (cmpta-alone 2.0)"]
    metrics = trained.run.read_json("metrics.json")
    assert metrics["training"]["epochs"] == 2
    assert set(metrics["splits"]) == {"valid", "test"}
    assert {recipe.dataset for recipe in registry.recipes() if recipe.name == "cmpta"} == {"simsv2", "meld"}
    assert any(result.system == "CMPTA" for result in registry.published())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_plugin_does_not_know_where_it_stands(folder: Path) -> None:
    files = [*folder.rglob("*.py"), folder / "registry.yaml"]
    absolute = re.compile(rf"msakit\.plugins\.({'|'.join(path.name for path in FOLDERS)})")
    assert [path.name for path in files if absolute.search(path.read_text(encoding="utf-8"))] == []
