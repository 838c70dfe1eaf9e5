"""Every hook does what it says, and a plugin that fails in one is named."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from msakit.core.errors import ConfigError, PluginError
from msakit.core.hooks import Hooks
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.catalogue import read_catalogue
from msakit.core.registry.plugins import PluginManager
from msakit.core.registry.registry import load_registry
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import tiny_pipeline

HEADER = """
from msakit.core.hooks import hookimpl
from msakit.core.registry.specs import BackboneSpec, DatasetSpec, Finding
"""


def registry_with(tmp_path, *bodies):
    """A registry of shipped components and one plugin file for each body."""
    files = []
    for number, body in enumerate(bodies):
        files.append(tmp_path / f"plugin{number}.py")
        files[-1].write_text(HEADER + dedent(body))
    return load_registry(plugin_files=files, discover=False)


def resolved_with(registry, **changes):
    return resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)


def test_a_plugin_brings_a_dataset_and_a_backbone(tmp_path):
    registry = registry_with(
        tmp_path,
        """
        @hookimpl
        def msakit_datasets():
            yield DatasetSpec("moods", "regression", "en", "mosei", label_range=(-3.0, 3.0),
                              features={"audio": 6, "vision": 4}, prompts={"task": "How happy?"})

        @hookimpl
        def msakit_backbones():
            yield BackboneSpec("small-one", {"source": "random"}, {"hidden_size": 8})
        """,
    )
    assert registry.backbone("small-one").architecture["hidden_size"] == 8
    assert resolved_with(registry, dataset="moods").dataset.prompts["task"] == "How happy?"


def test_a_check_of_pipelines_refuses_with_its_remedy(tmp_path):
    registry = registry_with(
        tmp_path,
        """
        @hookimpl
        def msakit_check_pipeline(pipeline):
            if pipeline.fuser.name == "tgm":
                yield Finding("fuser", "tgm is out of season.", "Use sum.")
            yield Finding("training", "only a remark", fatal=False)
        """,
    )
    with pytest.raises(ConfigError, match=r"fuser: tgm is out of season\. Use sum\."):
        resolved_with(registry)
    assert resolved_with(registry, fuser="sum").fuser.spec.short == "sum"


@pytest.mark.parametrize("body", ["raise RuntimeError('no season')", "yield 1 / 0"])
def test_a_check_that_fails_is_named(tmp_path, body):
    registry = registry_with(
        tmp_path,
        "@hookimpl\ndef msakit_datasets():\n    return []\n",
        f"@hookimpl\ndef msakit_check_pipeline(pipeline):\n    {body}\n",
    )
    with pytest.raises(PluginError, match=r"plugin .*plugin1\.py: msakit_check_pipeline failed") as caught:
        resolved_with(registry)
    assert "MSAKIT_PLUGINS" in str(caught.value)


def test_trackers_are_told_of_a_finished_run_and_a_failing_one_is_a_warning(tmp_path, store):
    registry = registry_with(
        tmp_path,
        f"""
        @hookimpl
        def msakit_run_finished(record):
            from pathlib import Path
            Path({str(tmp_path / "told")!r}).write_text(str(record["splits"]["test"]["mae"]))
        """,
        """
        @hookimpl
        def msakit_run_finished(record):
            raise ConnectionError("no tracker there")
        """,
    )
    plan = TrainingPlan(resolved_with(registry), store, tmp_path / "run")
    record = train_run(plan, registry).run.read_record()
    assert float((tmp_path / "told").read_text()) == record.splits["test"]["mae"]
    (warning,) = [text for text in record.warnings if "plugin" in text]
    assert "plugin1.py: msakit_run_finished: ConnectionError: no tracker there" in warning


def test_a_plugin_for_another_interface_is_refused(tmp_path: Path) -> None:
    (tmp_path / "later.py").write_text("MSAKIT_INTERFACE = 99\n")
    with pytest.raises(PluginError, match="interface 99, and this msakit has 1"):
        PluginManager(files=[tmp_path / "later.py"])
    (tmp_path / "registry.yaml").write_text("interface: 99\n")
    with pytest.raises(ConfigError, match="interface 1; install another version"):
        read_catalogue(tmp_path / "registry.yaml")
    (tmp_path / "registry.yaml").write_text("interface: 1\n")
    assert read_catalogue(tmp_path / "registry.yaml").components == ()


def test_a_deprecation_points_to_the_plugins_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going = DeprecationWarning("msakit: say it in a registry.yaml instead")
    monkeypatch.setitem(Hooks.msakit_datasets.msakit_spec, "warn_on_impl", going)
    file = tmp_path / "old.py"
    file.write_text("from msakit import hookimpl\n\n\n@hookimpl\ndef msakit_datasets():\n    return ()\n")
    with pytest.warns(DeprecationWarning, match="say it in a registry") as caught:
        (report,) = PluginManager(files=[file]).reports
    assert (caught[0].filename, caught[0].lineno) == (str(file), 4)
    assert report.deprecated == (f"{file}:4: {going}",)
    assert report.error is None
