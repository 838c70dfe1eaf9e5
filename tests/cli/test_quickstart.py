"""The quick start on a tiny backbone and store, and what predict says of a model trained on the demo."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from msakit.cli import quickstart
from msakit.cli.workers import sharing
from msakit.core.errors import MsakitError
from msakit.core.files import read_yaml
from msakit.runs.lock import locked
from tests.cli.test_commands import run
from tests.conftest import WIDTHS, fill_store

SYSTEMS = ["mse-adapter", "cmpta", "egmf", "text only"]


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    """The shipped study with the tiny backbone and less of everything."""
    folder = tmp_path_factory.mktemp("study")
    pipeline = read_yaml(quickstart.DATA / "demo_pipeline.yaml")
    pipeline["backbone"] = "tiny"
    pipeline["dataset"]["features"] = WIDTHS
    pipeline["training"] |= {"warm_start_epochs": 1, "evaluation_batch_size": 8}
    study = read_yaml(quickstart.DATA / "quickstart.yaml")
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**study, "pipeline": pipeline}, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def done(study_file, tmp_path_factory):
    """Exit code and output of the command, and where its runs are."""
    folder = tmp_path_factory.mktemp("quickstart")
    store = fill_store(folder / "store")
    arguments = ("quickstart", "--store", store, "--study", study_file, "--output", folder / "runs")
    arguments = (*arguments, "--workers", 2)
    return arguments, run(*arguments), folder / "runs"


def test_it_trains_every_system_for_the_same_epochs_and_shows_them_side_by_side(done):
    _, (code, stdout, stderr), runs = done
    assert code == 0, stderr
    for system in SYSTEMS:
        assert system in stdout
        history = (runs / system.replace(" ", "-") / "seed-1111/history.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in history]
        assert [r["split"] for r in records if r["split"] != "train"] == ["warm start", "valid"], system
    assert "median baseline" in stdout
    assert "egmf" in (runs / "report.html").read_text()


def test_two_processes_share_the_systems_and_train_each_once(done):
    _, (_, _, stderr), runs = done
    assert "Sharing the runs with another process" in stderr
    assert (
        '"mse-adapter"' in (runs / "worker-2.log").read_text()
    )  # it came to its end too, and shows the study
    for history in runs.glob("*/seed-1111/history.jsonl"):
        steps = [
            record["step"]
            for record in map(json.loads, history.read_text().splitlines())
            if record["split"] == "train"
        ]
        assert steps == sorted(set(steps))


def test_a_process_that_fails_is_reported_with_its_log(tmp_path):
    command = ("sweep", tmp_path / "nothing.yaml", "--store", "demo")
    with pytest.raises(MsakitError, match=r"worker-2\.log says why"), sharing(command, 2, tmp_path):
        pass
    assert "nothing.yaml" in (tmp_path / "worker-2.log").read_text().replace("\n", "")


def test_the_other_processes_stop_when_this_one_is_interrupted(tmp_path, study_file, done):
    command = ("sweep", study_file, "--store", done[0][2], "--output", tmp_path)
    with pytest.raises(KeyboardInterrupt), sharing(command, 2, tmp_path):
        interrupt_when(lambda: [*tmp_path.glob("*/seed-1111/.lock")])
    (lock,) = tmp_path.glob("*/seed-1111/.lock")
    with locked(lock.parent):  # nobody trains in it any more
        assert not [*tmp_path.glob("*/*/metrics.json")]


def interrupt_when(condition, seconds=120):
    """Wait until a condition holds, then interrupt."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    raise KeyboardInterrupt


def test_run_again_it_trains_nothing_and_says_the_same(done):
    arguments, _, runs = done
    files = {path: path.stat().st_mtime_ns for path in runs.rglob("history.jsonl")}
    code, stdout, _ = run(*arguments, "--json")
    assert code == 0
    found = json.loads(stdout)["splits"]["test"]
    assert list(found["systems"]) == SYSTEMS
    assert set(found["baselines"]) == {"mean", "median"}
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("history.jsonl")} == files


def test_what_it_suggests_next_works_and_says_whose_voice_and_face_it_knows(done):
    _, (_, told, told_too), runs = done
    assert '--text "A great film." --text "An awful film."' in told + told_too
    code, stdout, stderr = run(
        "predict", runs / "mse-adapter/seed-1111", "--text", "A great film.", "--text", "An awful film."
    )
    assert code == 0, stderr
    assert "predicted without audio, vision" in (stdout + stderr).replace("\n", " ")
    assert "a synthetic voice and a drawn face" in (stdout + stderr).replace("\n", " ")
