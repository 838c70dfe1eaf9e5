"""Several workers share a study: every run is trained once, by one of them."""

from __future__ import annotations

import json

import yaml

from msakit.core.shards import Shard
from msakit.runs.folder import Run
from msakit.runs.lock import locked
from msakit.workflows.study import read_study
from tests.conftest import tiny_pipeline
from tests.training import forked

GRID = {"injector": ["pseudo2", "pseudo3"]}


def make_study(tmp_path, store):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"pipeline": tiny_pipeline(), "grid": GRID, "seeds": [1, 2]}))
    return read_study(file, store, tmp_path / "runs")


def steps(study):
    """How often each run made its steps: once, where nobody trained it twice."""
    files = [folder / "history.jsonl" for _, _, folder in study.places()]
    lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[line["step"] for line in one if line["split"] == "train"] for one in lines]


def test_two_workers_of_one_study_train_every_run_once(registry, store, tmp_path):
    study = make_study(tmp_path, store)
    workers = [forked.start(lambda: study.run(registry, lambda _: ())) for _ in range(2)]
    assert [forked.wait(worker) for worker in workers] == [0, 0]
    study.run(registry, lambda _: ())
    assert steps(study) == [list(range(1, 7))] * 4


def test_a_run_in_other_hands_is_left_to_them_and_a_shard_to_its_machine(registry, store, tmp_path):
    study = make_study(tmp_path, store)
    first, _, third, _ = study.cells(registry)
    with locked(first.folder):
        left = study.run(registry, lambda _: (), shard=Shard(1, 2))
    assert [cell.folder for cell in left] == [first.folder]
    finished = [folder for _, _, folder in study.places() if Run(folder).is_finished]
    assert finished == [third.folder]
