"""The benchmark on people, without people: protocol, record and check on made-up predictions."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msakit.core.pipeline.builder import build_adapter, measure_backbone
from msakit.runs.predictions import Predictions, to_csv
from msakit.workflows.study import read_study

pytest.importorskip("sklearn")
FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def people(monkeypatch):
    """The modules of the benchmark."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from people import corpora, results

    return corpora, results


WIDTHS = {"emodb": {"audio": 384}, "meld": {}, "mosi": {"audio": 73, "vision": 100}}


@pytest.mark.parametrize("name", WIDTHS)
def test_every_system_of_a_corpus_builds(registry, tmp_path, name):
    text = (FOLDER / "people" / f"{name}.yaml").read_text(encoding="utf-8").replace("{fold}", "f1")
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    study = read_study(tmp_path / "study.yaml", tmp_path / "store", tmp_path / "runs")
    cells = study.cells(registry)[: len(study.config.variants())]
    for cell in cells:
        hidden = measure_backbone(cell.resolved, registry).hidden_size
        settings = {"widths": WIDTHS[name], "hidden_size": hidden, "device": "meta"}
        counts = build_adapter(cell.resolved, registry, **settings).count_parameters()
        is_head = cell.resolved.config.answers.readout == "head"
        assert ("head" in counts) == is_head, cell.system


def test_without_data_it_says_so(tmp_path):
    command = [sys.executable, FOLDER / "people.py", "mosi", "--work", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Skipped: --data or MSAKIT_DATA must name")
    assert not list(tmp_path.iterdir())


def test_no_speaker_is_in_two_splits_of_a_fold(people, tmp_path):
    corpora, _ = people
    speakers = [(f"{speaker:02d}", str(speaker // 2 + 1)) for speaker in range(10)]
    rows = [{"id": name, "path": f"wav/{name}.wav", "speaker": name, "fold": fold} for name, fold in speakers]
    corpora._write_csv(tmp_path / "manifest.csv", rows)
    tested = []
    for fold in range(1, 6):
        corpora._write_fold(tmp_path / "manifest.csv", tmp_path / "fold.csv", fold)
        with (tmp_path / "fold.csv").open(encoding="utf-8", newline="") as file:
            split_of = {row["speaker"]: row["split"] for row in csv.DictReader(file)}
        assert sorted(split_of.values()) == ["test"] * 2 + ["train"] * 6 + ["valid"] * 2
        tested += [name for name, split in split_of.items() if split == "test"]
    assert sorted(tested) == [name for name, _ in speakers]


def write_run(folder, values, *, seed="1"):
    ids = tuple(f"video{index // 4}$_${index}" for index in range(len(values)))
    labels = np.linspace(-3, 3, len(values))
    target = folder / "mosi" / "system" / f"seed-{seed}"
    target.mkdir(parents=True)
    file = target / "predictions.test.csv"
    file.write_text(to_csv(Predictions(ids, labels, labels + values)), encoding="utf-8")
    return file


def test_the_record_has_every_runs_metrics_and_notices_a_changed_prediction(people, tmp_path):
    corpora, results = people
    corpus = corpora.CORPORA["mosi"]
    file = write_run(tmp_path, np.full(24, 0.5))
    write_run(tmp_path, np.full(24, 1.0), seed="2")
    found = results.record(corpus, results.find_measured(corpus, tmp_path), ())
    assert [run["metrics"]["mae"] for run in found["system"]["runs"]] == pytest.approx([0.5, 1.0])
    assert found["system"]["intervals"]["mae"] == pytest.approx([0.75, 0.75])  # the same error everywhere
    assert "| system | 0.750 ± 0.354 |" in results.markdown(corpus, found)
    again = results.record(corpus, results.find_measured(corpus, tmp_path), ())
    assert results.differing(found, again) == []
    file.write_text(file.read_text(encoding="utf-8").replace("-2.5", "-2.4", 1), encoding="utf-8")
    changed = results.record(corpus, results.find_measured(corpus, tmp_path), ())
    assert results.differing(found, changed) == ["system: other predictions or metrics"]


def test_a_system_counts_once_all_its_folds_are_there(people, tmp_path):
    corpora, results = people
    for fold in ("f1", "f2", "f3", "f4"):
        target = tmp_path / fold / "half" / "seed-1"
        target.mkdir(parents=True)
        (target / "predictions.test.csv").write_text("id,label,prediction\n", encoding="utf-8")
    assert results.find_measured(corpora.CORPORA["emodb"], tmp_path) == []
