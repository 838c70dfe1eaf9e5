"""Reading run folders back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_folders import ERC_NAMES, write_run

from msakit.core.errors import DataError, InputError
from msakit.runs.results import read_group, read_run


def test_predictions_come_back_as_arrays(tmp_path: Path) -> None:
    columns = {
        "p:+0.5": [0.25, 0.5],
        "p:-0.5": [0.75, ""],
        "d:alpha[0]": [0.1, 0.2],
        "d:alpha[1]": [0.9, 0.8],
        "d:map[1,0]": [3, ""],
        "d:entropy": [1.5, 2.5],
    }
    run = read_run(write_run(tmp_path / "run", [0.5, ""], [1.0, -1.0], ids=["a", "b"], columns=columns))
    found = run.predictions("test")
    assert found.ids == ("a", "b")
    assert found.labels.tolist() == [1.0, -1.0]
    assert found.values[0] == 0.5
    assert np.isnan(found.values[1])
    assert found.answers == ("+0.5", "-0.5")
    assert found.probabilities[:, 0].tolist() == [0.25, 0.5]
    assert np.isnan(found.probabilities[1, 1])
    assert found.diagnostics["alpha"].tolist() == [[0.1, 0.9], [0.2, 0.8]]
    assert found.diagnostics["entropy"].tolist() == [1.5, 2.5]
    assert found.diagnostics["map"].shape == (2, 2, 1)
    assert found.diagnostics["map"][0, 1, 0] == 3
    assert np.isnan(found.diagnostics["map"][1]).all()
    assert run.splits == ("test",)


@pytest.mark.parametrize("labels", [["joy", "anger", "joy"], [1, 2, 1], ["1.0", "2.0", "1.0"]])
def test_classes_are_read_by_name_or_by_index(tmp_path: Path, labels: list[object]) -> None:
    folder = write_run(
        tmp_path, ["joy", "joy", ""], labels, dataset="meld", family="erc", label_names=ERC_NAMES
    )
    run = read_run(folder)
    assert run.predictions("test").labels.tolist() == [1, 2, 1]
    values = run.metrics("test")
    assert values["accuracy"] == pytest.approx(1 / 3)
    assert values["missing_share"] == pytest.approx(1 / 3)
    assert values["support:joy"] == 2


def test_undefined_baseline_values_are_nan(tmp_path: Path) -> None:
    baselines = {"test": {"mean": {"mae": 0.5, "corr": None}}}
    run = read_run(write_run(tmp_path, [0.0], [1.0], baselines=baselines))
    assert run.baselines("test")["mean"]["mae"] == 0.5
    assert np.isnan(run.baselines("test")["mean"]["corr"])
    assert run.baselines("valid") == {}


def test_a_line_cut_off_at_the_end_of_the_history_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path, [0.0], [1.0], history=[{"step": 1}, {"step": 2}])
    with (run / "history.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [entry["step"] for entry in read_run(run).history] == [1, 2]


def test_a_damaged_line_inside_the_history_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path, [0.0], [1.0])
    (run / "history.jsonl").write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 1"):
        _ = read_run(run).history


def test_epochs_that_were_counted_from_0_are_read_as_counted_from_1(tmp_path: Path) -> None:
    history = [{"epoch": 0, "split": "warm start"}, {"epoch": 0, "split": "valid"}, {"epoch": 1}, {"step": 3}]
    training = {"best_epoch": 1, "epochs": 2, "stopped": "all epochs done"}
    old = read_run(write_run(tmp_path / "old", [0.0], [1.0], history=history, version=1, training=training))
    assert [entry.get("epoch") for entry in old.history] == [1, 1, 2, None]
    assert (old.record.version, old.record.training.best_epoch) == (2, 2)
    new = read_run(write_run(tmp_path / "new", [0.0], [1.0], history=old.history, training=training))
    assert new.history == old.history
    assert new.record.training.best_epoch == 1


def test_seeds_are_one_group_in_numeric_order(tmp_path: Path) -> None:
    for seed in (10, 2, 1):
        write_run(tmp_path / f"seed-{seed}", [0.0], [1.0], seed=seed)
    group = read_group(tmp_path)
    assert [run.record.seed for run in group.runs] == [1, 2, 10]
    assert len(read_group(tmp_path / "seed-2").runs) == 1


def test_a_group_of_several_datasets_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "seed-1", [0.0], [1.0])
    write_run(tmp_path / "seed-2", [0.0], [1.0], dataset="mosi")
    with pytest.raises(InputError, match="mosei and mosi"):
        read_group(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", "{", "not readable JSON"),
        ("metrics.json", "[]", "should hold a JSON object"),
        ("metrics.json", '{"dataset": "mosei"}', "family: Field required"),
        ("metrics.json", '{"dataset": "mosei", "family": "mosei", "version": 99}', "install a newer one"),
        ("metrics.json", '{"dataset": "mosei", "family": "mosei", "splits": null}', "splits: "),
        ("metrics.json", '{"a":' * 100_000, "not readable JSON"),
        ("predictions.test.csv", "id,label,prediction,d:a[40000000]\na,1,1,1\n", "40,000,001 entries"),
        ("predictions.test.csv", 'id,label,prediction,d:a[0],"d:a[0,1]"\na,1,1,1,1\n', "different lengths"),
        ("predictions.test.csv", "id,label,prediction,id\na,1,1,b\n", "two of one name"),
        ("predictions.test.csv", 'id,label,prediction\n"a' + "b" * 200_000 + '",1,1\n', "not a CSV file"),
        ("predictions.test.csv", "id,label\na,1\n", "lacks the columns prediction"),
        ("predictions.test.csv", "id,label,prediction\na,1\n", "line 2: 3 cells"),
        ("predictions.test.csv", "", "lacks the columns id"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    run = write_run(tmp_path, [0.0], [1.0])
    (run / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_run(run).predictions("test")
    assert name in str(caught.value)


def test_a_prediction_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="positive"):
        read_run(write_run(tmp_path, ["positive"], [1.0])).predictions("test")


def test_a_folder_that_is_no_run_and_a_split_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a finished run"):
        read_group(tmp_path)
    run = read_run(write_run(tmp_path / "run", [0.0], [1.0]))
    with pytest.raises(InputError, match=r"no predictions of the split 'valid' \(there: test\)") as caught:
        run.predictions("valid")
    assert "--split valid" in str(caught.value)
