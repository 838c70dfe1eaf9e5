"""A run names the plugin packages it was trained with, and says so where one is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from msakit.core.errors import UnknownNameError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import tiny_pipeline

PLUGIN = """
from msakit import ComponentSpec, Kind, hookimpl

@hookimpl
def msakit_components():
    yield ComponentSpec(Kind.FUSER, "theirs.mixer", "msakit.plugins.baselines.pooled:SumFusion",
                        "msakit.plugins.baselines.config:SumConfig",
                        capabilities={"needs_summary", "gives_tokens"})
"""


def test_a_run_says_which_package_it_needs(store, tmp_path, monkeypatch) -> None:
    site = tmp_path / "site"
    metadata = site / "their_mixer-1.2.dist-info"
    metadata.mkdir(parents=True)
    (site / "their_mixer.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Name: their-mixer\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[msakit]\nmixer = their_mixer\n")
    monkeypatch.delenv("MSAKIT_PLUGINS", raising=False)
    with monkeypatch.context() as here:
        here.syspath_prepend(str(site))
        registry = load_registry()
        resolved = resolve(parse_pipeline(tiny_pipeline(fuser="mixer"), "test"), registry)
        run = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry).run
    plugins = run.read_json("provenance.json")["plugins"]
    assert plugins["theirs.mixer@1"] == "their-mixer 1.2"
    assert plugins["mse_adapter.lstm@1"].startswith("msakit ")
    with pytest.raises(UnknownNameError) as caught:
        load_run(tmp_path / "run", load_registry(discover=False))
    assert "their-mixer 1.2, which is not installed" in caught.value.hint
    assert "pip install 'their-mixer==1.2'" in caught.value.hint

    odd = Path(shutil.copytree(tmp_path / "run", tmp_path / "odd"))
    content = json.loads((odd / "provenance.json").read_text())
    content["plugins"] = {"x": "name; rm -rf ~ 1.0", "y": 3}
    (odd / "provenance.json").write_text(json.dumps(content))
    with pytest.raises(UnknownNameError) as caught:
        load_run(odd, load_registry(discover=False))
    assert "pip install" not in caught.value.hint
