"""`msakit robustness` as a user meets it."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from tests.conftest import tiny_pipeline


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("robustness")
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(tiny_pipeline()))
    result = run("train", folder / "pipeline.yaml", "--store", store, "-o", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_curves_begin_at_the_runs_own_result_and_end_without_the_stream(trained):
    before = (trained / "metrics.json").read_bytes()
    result = run("robustness", trained, "--rates", "1,0,0.5", "--seeds", "1,2", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["rates"] == [0, 0.5, 1]
    curves = {curve["stream"]: curve for curve in found["curves"]}
    assert list(curves) == ["text", "audio", "vision", "all"]
    own = json.loads(before)["splits"]["test"]["mae"]
    assert all(curve["mean"][0] == pytest.approx(own) for curve in curves.values())
    assert all(curve["deviation"][0] == curve["deviation"][2] == 0 for curve in curves.values())
    without = json.loads(run("evaluate", trained, "--without", "audio", "--json").stdout)
    assert curves["audio"]["mean"][2] == pytest.approx(without["splits"]["test"]["mae"])
    half = [
        json.loads(run("evaluate", trained, "--missing", "audio=0.5", "--seed", seed, "--json").stdout)
        for seed in (1, 2)
    ]
    mean = sum(one["splits"]["test"]["mae"] for one in half) / 2
    assert curves["audio"]["mean"][1] == pytest.approx(mean)
    assert (trained / "metrics.json").read_bytes() == before
    assert json.loads((trained / "robustness/robustness.json").read_text()) == found


def test_a_table_and_a_picture_are_given(trained, tmp_path):
    pytest.importorskip("matplotlib")
    result = run("robustness", trained, "--rates", "0,1", "--seeds", "7", "-o", tmp_path, "--samples", "4")
    assert result.exit_code == 0, result.output
    header = next(line for line in result.stdout.splitlines() if line.startswith("stream"))
    assert header.split() == ["stream", "0", "1"]
    picture = (tmp_path / "robustness.svg").read_text()
    assert all(f">{word}<" in picture for word in ("text", "audio", "vision", "all"))


@pytest.mark.parametrize(("option", "value"), [("--rates", "0,2"), ("--rates", "half"), ("--seeds", "one")])
def test_what_means_nothing_is_refused(trained, option, value):
    result = run("robustness", trained, option, value)
    assert result.exit_code == 2
    assert f"{option} {value}" in result.stderr
