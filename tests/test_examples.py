"""Every shipped YAML file says something true: it resolves, and it can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from msakit.core.pipeline.builder import build_adapter, measure_backbone
from msakit.core.pipeline.config import read_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.workflows.study import read_study

ROOT = Path(__file__).parents[1]
PIPELINES = sorted((ROOT / "examples" / "pipelines").glob("*.yaml"))
QUICKSTART = ROOT / "msakit" / "data" / "quickstart.yaml"
STUDIES = [QUICKSTART, *sorted((ROOT / "examples" / "studies").glob("*.yaml"))]
DEMO_WIDTHS = {"audio": 40, "vision": 59}


def build(resolved, registry):
    widths = resolved.dataset.features or DEMO_WIDTHS
    hidden = measure_backbone(resolved, registry).hidden_size
    return build_adapter(resolved, registry, widths=widths, hidden_size=hidden, device="meta")


def test_there_are_as_many_as_there_should_be():
    assert (len(PIPELINES), len(STUDIES)) == (3, 12)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_builds(path, registry):
    assert build(resolve(read_pipeline(path), registry), registry).count_parameters()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_system_of_a_study_builds(path, registry, tmp_path):
    study = read_study(path, ROOT / "msakit" / "data" / "demo.h5", tmp_path)
    cells = study.cells(registry)
    assert len(cells) == len(study.config.variants()) * len(study.config.seeds)
    for cell in cells[: len(study.config.variants())]:
        assert build(cell.resolved, registry).count_parameters(), cell.system


def test_the_readmes_pipeline_is_the_shipped_one():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("```yaml\n")[1].split("```")[0]
    lines = [line.split("#")[0].rstrip() for line in shown.splitlines()]
    shipped = (ROOT / "examples" / "pipelines" / "mse_adapter.yaml").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line] == [line for line in shipped if not line.startswith("#")]
