"""Every kind of plugin that `msakit plugins new` starts: found, trained with, true to its contract."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
import wave
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.errors import UnknownNameError
from msakit.core.pipeline.config import read_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.check import check_registry
from msakit.core.registry.registry import load_registry
from msakit.core.registry.scaffold import TRIES, write_plugin
from msakit.core.registry.specs import Kind
from msakit.feature_store import FeatureStore
from msakit.workflows.train import TrainingPlan, train_run

SMALL = [("training.epochs", 1), ("training.batch_size", 8)]
QUICK = (Kind.FUSER, Kind.ENCODER, Kind.INJECTOR, Kind.BACKBONE)


def started(kind: Kind, folder: Path) -> Path:
    return write_plugin(f"my_{kind}", folder, kind)[0].parent


@pytest.fixture
def on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package on the path with the metadata an installation would write."""

    def put(package: Path) -> None:
        project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        entries = "\n".join(f"{key} = {value}" for key, value in project["entry-points"]["msakit"].items())
        (metadata / "entry_points.txt").write_text(f"[msakit]\n{entries}\n")
        (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.syspath_prepend(str(package))
        monkeypatch.delenv("MSAKIT_PLUGINS", raising=False)

    return put


def environment(*paths: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("kind", QUICK)
def test_a_new_plugin_trains(kind: Kind, tmp_path: Path, store: Path, on_the_path) -> None:
    package = started(kind, tmp_path / "made")
    on_the_path(package)
    registry = load_registry()
    assert check_registry(registry) == []
    config = read_pipeline(package / "pipeline.yaml", SMALL)
    resolved = resolve(config, registry)
    trained = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry)
    assert trained.run.read_json("metrics.json")["training"]["epochs"] == 1
    used = [resolved.fuser.spec.name, resolved.injector.spec.name, resolved.backbone_spec.name]
    used += [encoder.spec.name for encoder in resolved.encoders.values()]
    assert {f"my_{kind}.my_{kind}", f"my_{kind}"} & set(used)


def test_a_new_extractor_extracts(tmp_path: Path, on_the_path) -> None:
    package = started(Kind.EXTRACTOR, tmp_path / "made")
    on_the_path(package)
    for name in ("one", "two"):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
            file.writeframes(np.full(16_000, 8_192, dtype="<i2").tobytes())
    (tmp_path / "clips.csv").write_text("id,path,text\n1,one.wav,good\n2,two.wav,bad\n")
    arguments = ["extract", str(tmp_path / "clips.csv"), "--store", str(tmp_path / "feats")]
    result = CliRunner().invoke(app, [*arguments, "--audio", "my_extractor", "--json"])
    assert result.exit_code == 0, result.output
    (made,) = FeatureStore.open(tmp_path / "feats").feature_sets().values()
    assert (made.extractor, made.width) == ("my_extractor@1", 2)


def test_a_new_transcriber_writes_texts_down(tmp_path: Path, on_the_path) -> None:
    package = started(Kind.TRANSCRIBER, tmp_path / "made")
    on_the_path(package)
    with wave.open(str(tmp_path / "one.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(np.full(16_000, 8_192, dtype="<i2").tobytes())
    (tmp_path / "one.txt").write_text("what a film")
    (tmp_path / "clips.csv").write_text("id,path\n1,one.wav\n")
    store = tmp_path / "feats"
    arguments = ["extract", str(tmp_path / "clips.csv"), "--store", str(store), "--dataset", "clips"]
    result = CliRunner().invoke(
        app, [*arguments, "--transcribe", "--transcriber", "my_transcriber", "--audio", "prosody"]
    )
    assert result.exit_code == 0, result.output
    table = FeatureStore.open(store).table("clips")
    assert list(table.text) == ["what a film"]
    assert list(table.extra["text_by"]) == ["my_transcriber@1 (.txt)"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", Kind)
def test_a_new_plugins_own_tests_pass(kind: Kind, tmp_path: Path, on_the_path) -> None:
    package = started(kind, tmp_path / "made")
    on_the_path(package)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(package, tmp_path), cwd=package, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    not (importlib.util.find_spec("hatchling") and importlib.util.find_spec("pip")),
    reason="needs pip and hatchling, which build the package",
)
@pytest.mark.parametrize("kind", Kind)
def test_a_new_plugin_is_installed_and_uninstalled(kind: Kind, tmp_path: Path, monkeypatch) -> None:
    package, site = started(kind, tmp_path / "made"), tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--target", str(site), str(package)], check=True)
    names = subprocess.run(
        [sys.executable, "-m", "msakit", "plugins", "list", "--json"],
        capture_output=True, text=True, env=environment(site), check=True,
    )  # fmt: skip
    assert f'"msakit-my-{kind} 0.1.0"' in names.stdout
    for path in sorted(site.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if kind is not Kind.BACKBONE:
        monkeypatch.delenv("MSAKIT_PLUGINS", raising=False)
        with pytest.raises(UnknownNameError):
            load_registry().component(kind, f"my_{kind}")


@pytest.mark.parametrize("kind", TRIES)
def test_what_is_written_is_whole(kind: Kind, tmp_path: Path) -> None:
    package = started(kind, tmp_path)
    texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*") if path.is_file()}
    assert [path.name for path, text in texts.items() if "$" in text.replace("${{", "")] == []
    for path, text in texts.items():
        if path.suffix == ".py":
            compile(text, str(path), "exec")
            assert "msakit.core" not in text, f"{path.name} imports what is not public"
        elif path.suffix in (".yaml", ".yml"):
            assert yaml.safe_load(text)
    readme = texts[package / "README.md"]
    assert "pip install -e '.[test]'" in readme
    for word in readme.split("`"):
        if word.startswith("msakit_"):
            assert (package / word).is_file()
