"""A search with Optuna: trials are shared by workers, gone on with after a kill, and chosen on validation."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.errors import ConfigError, InputError
from msakit.core.files import read_yaml
from msakit.runs.folder import Run
from msakit.workflows.search import Search
from msakit.workflows.study import read_study
from tests.conftest import tiny_pipeline
from tests.training import forked

pytest.importorskip("optuna", reason="a search needs Optuna: pip install 'msakit[search]'")

RANGES = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "injector": ["pseudo2", "pseudo3"],
    "encoders.audio.hidden_size": {"low": 4, "high": 8},
}


def study_file(folder, **changes):
    pipeline = tiny_pipeline()
    pipeline["training"]["epochs"] = 1
    search = {"ranges": RANGES, "trials": 3, **changes}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"pipeline": pipeline, "search": search, "seeds": [1]}))
    return file


def make_search(registry, store, folder, name="runs", **changes):
    return Search(read_study(study_file(folder, **changes), store, folder / name), registry)


def steps(folder):
    lines = (folder / "seed-1" / "history.jsonl").read_text().splitlines()
    return [line["step"] for line in map(json.loads, lines) if line["split"] == "train"]


@pytest.fixture(scope="module")
def searched(registry, store, tmp_path_factory):
    """A finished search of three trials."""
    search = make_search(registry, store, tmp_path_factory.mktemp("searched"))
    assert search.run(lambda _: ()) == []
    return search


def test_the_best_pipeline_is_the_best_run_s_and_never_saw_the_test_split(searched):
    records = {t.number: Run(t.folder / "seed-1").read_record() for t in searched.tried()}
    values = {number: record.splits["valid"]["mae"] for number, record in records.items()}
    assert {t.number: t.value for t in searched.tried()} == values
    assert [list(record.splits) for record in records.values()] == [["valid"]] * 3
    best = min(values, key=values.__getitem__)
    assert searched.best().number == best
    folder = searched.study.folder
    assert read_yaml(folder / "best.yaml") == read_yaml(folder / f"trial-{best}/seed-1/pipeline.yaml")


def test_settings_lie_in_their_ranges_and_reach_the_runs(searched):
    for trial in searched.tried():
        pipeline = read_yaml(trial.folder / "seed-1" / "pipeline.yaml")
        rate, width = pipeline["training"]["learning_rate"], pipeline["encoders"]["audio"]["hidden_size"]
        assert 1e-4 <= rate <= 1e-2
        assert width in range(4, 9)
        assert trial.settings == {
            "training.learning_rate": rate,
            "injector": f"pseudo{pipeline['injector']['tokens']}",
            "encoders.audio.hidden_size": width,
        }


def test_two_workers_share_a_storage_and_a_killed_one_loses_nothing(registry, store, tmp_path):
    """One worker is killed within a trial; what it began is gone on with, nothing is trained twice."""
    search = make_search(registry, store, tmp_path, trials=3)
    first = forked.start(lambda: search.run(lambda _: ()))
    history = tmp_path / "runs/trial-0/seed-1/history.jsonl"
    while not history.is_file():
        time.sleep(0.01)
    os.kill(first, signal.SIGKILL)
    assert forked.wait(first) == -signal.SIGKILL
    workers = [forked.start(lambda: search.run(lambda _: ())) for _ in range(2)]
    assert [forked.wait(worker) for worker in workers] == [0, 0]
    assert search.run(lambda _: ()) == []
    assert [trial.state for trial in search.tried()] == ["complete"] * 3
    assert [sorted(set(steps(trial.folder))) for trial in search.tried()] == [[1, 2, 3]] * 3
    assert [steps(trial.folder) for trial in search.tried()[1:]] == [[1, 2, 3]] * 2


def test_a_search_in_parts_draws_what_it_draws_at_once(registry, store, tmp_path, searched):
    for trials in (1, 2):
        parts = make_search(registry, store, tmp_path, trials=trials)
        parts.run(lambda _: ())
    assert [t.settings for t in parts.tried()] == [t.settings for t in searched.tried()[:2]]


def test_another_seed_draws_other_settings(registry, store, tmp_path, searched):
    other = make_search(registry, store, tmp_path, trials=1, seed=2)
    other.run(lambda _: ())
    assert other.tried()[0].settings != searched.tried()[0].settings


def test_a_trial_that_diverges_fails_and_the_search_goes_on(registry, store, tmp_path):
    search = make_search(registry, store, tmp_path, trials=2, ranges={"training.learning_rate": [1e30, 1e31]})
    assert search.run(lambda _: ()) == []
    assert [(trial.state, trial.value) for trial in search.tried()] == [("fail", None)] * 2
    assert search.best() is None


def test_a_storage_holds_one_search(registry, store, searched):
    changed = make_search(registry, store, searched.study.folder.parent, sampler="random")
    with pytest.raises(InputError, match="another search"):
        changed.run(lambda _: ())


@pytest.mark.parametrize(
    ("ranges", "problem"),
    [
        ({"training.epochs": {"low": 3, "high": 3}}, "low has to be below high"),
        ({"training.learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, "log needs a low above 0"),
        ({"injector": ["pseudo2", "pseudo2"]}, "two values at least, all different"),
        ({"injector": {"from": 1, "to": 2}}, "unknown key"),
        ({}, "at least 1 item"),
    ],
)
def test_wrong_ranges_are_named_before_anything_runs(store, tmp_path, ranges, problem):
    with pytest.raises(ConfigError, match=problem):
        read_study(study_file(tmp_path, ranges=ranges), store, tmp_path / "runs")


@pytest.mark.parametrize("key", ["training.learning_rat", "fuser.depth"])
def test_a_key_no_pipeline_has_is_refused_before_anything_runs(registry, store, tmp_path, key):
    search = make_search(registry, store, tmp_path, ranges={key: [0.1, 0.2]})
    with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
        search.run(lambda _: ())
    assert not (tmp_path / "runs").exists()


def command(*arguments):
    return CliRunner().invoke(app, ["sweep", *map(str, arguments)])


def test_the_command_plans_a_search_and_writes_nothing(store, tmp_path):
    common = (study_file(tmp_path), "--store", store, "-o", tmp_path / "runs", "--search", "--dry-run")
    plan = json.loads(command(*common, "--json").stdout)
    assert (plan["metric"], plan["begun"], plan["to_do"]) == ("mae", 0, 3)
    assert "encoders.audio.hidden_size  4 to 8" in command(*common).stdout
    assert not (tmp_path / "runs").exists()


def test_the_command_says_which_trial_is_best(store, searched):
    folder = searched.study.folder
    common = (study_file(folder.parent), "--store", store, "-o", folder, "--search")
    found = json.loads(command(*common, "--json").stdout)
    values = [trial["value"] for trial in found["trials"]]
    assert found["best"] == values.index(min(values))
    assert found["best_pipeline"] == str(folder / "best.yaml")
    assert f"Best: trial {found['best']}." in command(*common).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Add --search."),
        (["--search", "--shard", "1/2"], "--shard is not for a search."),
        (["--search", "--storage", "nonsense"], "storage cannot be used"),
    ],
)
def test_options_that_do_not_fit_a_search_are_refused(store, tmp_path, arguments, message):
    result = command(study_file(tmp_path), "--store", store, "-o", tmp_path / "runs", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
