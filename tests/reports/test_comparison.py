"""Comparison of runs: seeds, paired bootstrap, published figures, refusals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from run_folders import ERC_NAMES, write_run
from scipy import stats

from msakit.core.errors import DataError, InputError, UnknownNameError
from msakit.core.registry.specs import PublishedResult
from msakit.metrics import compute_metrics
from msakit.metrics.bootstrap import holm
from msakit.reports.comparison import (
    Comparison,
    Question,
    compare_groups,
    distinct_names,
)
from msakit.reports.tables import FORMATS, is_best, to_csv, to_json, to_latex, to_markdown
from msakit.runs.results import RunGroup, read_group

LABELS = [2.0, -1.0, 0.5, -2.5, 1.5, -0.5, 3.0, 0.0]


def group(folder: Path, *per_seed: Sequence[float], **record: object) -> RunGroup:
    for seed, predictions in enumerate(per_seed):
        write_run(folder / f"seed-{seed}", predictions, LABELS, seed=seed, **record)
    return read_group(folder)


def noisy(seed: int, spread: float) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, spread, len(LABELS))
    return [round(label + error, 1) for label, error in zip(LABELS, noise, strict=True)]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    baselines = {"test": {"mean": {"mae": 1.5, "acc2_has0": 0.5}}}
    groups = [
        group(tmp_path / "reference", noisy(0, 1.5), noisy(1, 1.5), baselines=baselines),
        group(tmp_path / "better_50%", noisy(2, 0.2), noisy(3, 0.2), noisy(4, 0.2)),
    ]
    published = [
        PublishedResult("mse-adapter", "mosei", {"mae": 0.5147}, "Table 2", "high", backbone="chatglm3-6b"),
        PublishedResult("other", "mosei", {"corr": 0.7}, "Table 3", "high"),
        PublishedResult("mse-adapter", "sims", {"mae": 0.3}, "Table 2", "high"),
    ]
    return compare_groups(
        groups, Question(metric_names=["mae", "acc2_has0"], num_resamples=400), published=published
    )


def test_mean_and_sd_are_over_seeds(comparison: Comparison) -> None:
    row = comparison.rows[1]
    values = [compute_metrics("mosei", noisy(seed, 0.2), LABELS)["mae"] for seed in (2, 3, 4)]
    assert row.name == "better_50%"
    assert row.seeds == (0, 1, 2)
    assert row.estimates["mae"].values == pytest.approx(values)
    assert row.estimates["mae"].mean == pytest.approx(np.mean(values))
    assert row.estimates["mae"].sd == pytest.approx(stats.tstd(values))


def test_rows_are_runs_then_baselines_then_the_published_figures_of_this_dataset(
    comparison: Comparison,
) -> None:
    assert [(row.kind, row.name) for row in comparison.rows] == [
        ("run", "reference"),
        ("run", "better_50%"),
        ("baseline", "mean of the training labels"),
        ("published", "mse-adapter (chatglm3-6b)"),
    ]
    assert comparison.rows[2].estimates["acc2_has0"].mean == 0.5
    assert list(comparison.rows[3].estimates) == ["mae"]
    assert comparison.rows[3].confidence == "high"


def test_the_difference_is_of_seed_means_and_its_interval_holds_it(comparison: Comparison) -> None:
    rows = comparison.rows
    for difference in comparison.differences:
        expected = rows[1].estimates[difference.metric].mean - rows[0].estimates[difference.metric].mean
        assert difference.difference == pytest.approx(expected)
        assert difference.low <= difference.difference <= difference.high
        assert (difference.name, difference.reference) == ("better_50%", "reference")
    assert [difference.metric for difference in comparison.differences] == ["mae", "acc2_has0"]


def test_p_values_are_corrected_for_all_tests_of_the_table(comparison: Comparison) -> None:
    raw = [difference.p_value for difference in comparison.differences]
    assert [difference.p_holm for difference in comparison.differences] == holm(raw) != raw
    assert "p is corrected for 2 tests (Holm)." in to_markdown(comparison)


def dialogues(count: int, length: int) -> dict[str, list[str]]:
    return {"dialogue": [f"d{index // length}" for index in range(count * length)]}


def test_whole_dialogues_are_drawn_where_the_predictions_know_them(tmp_path: Path) -> None:
    """Errors that are shared by all of a dialogue: the interval is that of so many dialogues."""
    rng = np.random.default_rng(5)
    labels = np.zeros(400)
    shared = np.repeat(rng.normal(0, 1, 40), 10)
    for name, values in (("a", shared), ("b", np.zeros(400))):
        write_run(tmp_path / name, values, labels, columns=dialogues(40, 10))
    groups = [read_group(tmp_path / name) for name in ("a", "b")]
    found = compare_groups(groups, Question(num_resamples=1000))
    assert (found.cluster, found.num_clusters) == ("dialogue", 40)
    assert "paired bootstrap over 40 dialogues" in to_markdown(found)
    (low, high), single = found.rows[0].intervals["mae"], np.abs(shared[::10])
    assert high - low == pytest.approx(2 * 1.96 * single.std() / np.sqrt(40), rel=0.1)
    alone = compare_groups(groups, Question(cluster="none", num_resamples=1000))
    narrow = alone.rows[0].intervals["mae"]
    assert narrow[1] - narrow[0] == pytest.approx((high - low) / np.sqrt(10), rel=0.1)


def test_a_few_clusters_are_only_drawn_on_request(tmp_path: Path) -> None:
    columns = {"speaker": ["x", "y", ""] * 4}
    groups = [read_group(write_run(tmp_path / "a", [1.0] * 12, [0.5] * 12, columns=columns))]
    found = compare_groups(groups, Question(num_resamples=10))
    assert (found.cluster, found.num_clusters) == ("", 0)
    assert "too few clusters to draw (6 by speaker)" in found.remark
    asked = compare_groups(groups, Question(cluster="speaker", num_resamples=10))
    assert (asked.cluster, asked.num_clusters) == ("speaker", 6)
    assert "Only 6 clusters" in asked.remark
    with pytest.raises(InputError, match=r"carry no dialogue \(they carry: speaker\)"):
        compare_groups(groups, Question(cluster="dialogue"))


def test_the_split_is_one_that_all_runs_have(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, [0.0], [1.0], split="valid")
    write_run(tmp_path / "b", [0.0], [1.0], split="test")
    groups = [read_group(tmp_path / name) for name in ("a", "b")]
    assert compare_groups(groups, Question(num_resamples=0)).split == "valid"
    only = read_group(write_run(tmp_path / "c", [0.0], [1.0], split="test"))
    with pytest.raises(InputError, match="no evaluated split in common"):
        compare_groups([groups[0], only])


def test_equal_runs_do_not_differ(tmp_path: Path) -> None:
    groups = [group(tmp_path / name, noisy(0, 1.0)) for name in ("a", "b")]
    (difference,) = compare_groups(groups, Question(num_resamples=50)).differences
    assert (difference.metric, difference.difference, difference.p_value) == ("mae", 0.0, 1.0)


def test_samples_are_matched_by_id_not_by_order(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", noisy(0, 1.0), LABELS)
    ids = [f"clip{index}" for index in range(len(LABELS))]
    second = write_run(tmp_path / "b", noisy(0, 1.0)[::-1], LABELS[::-1], ids=ids[::-1])
    (difference,) = compare_groups(
        [read_group(first), read_group(second)], Question(num_resamples=20)
    ).differences
    assert (difference.low, difference.high) == (0.0, 0.0)


def test_missing_predictions_are_wrong_in_class_metrics_and_outside_the_error(tmp_path: Path) -> None:
    complete, gap = noisy(0, 0.1), [*noisy(0, 0.1)[:-1], float("nan")]
    groups = [group(tmp_path / "a", complete), group(tmp_path / "b", gap)]
    rows = compare_groups(groups, Question(all_metrics=True, num_resamples=0)).rows
    expected = compute_metrics("mosei", gap, LABELS)
    assert rows[1].estimates["missing_share"].mean == 1 / 8
    assert {name: estimate.mean for name, estimate in rows[1].estimates.items()} == pytest.approx(expected)


def test_nothing_is_tested_without_resamples(tmp_path: Path) -> None:
    groups = [group(tmp_path / name, noisy(0, 1.0)) for name in ("a", "b")]
    assert compare_groups(groups, Question(num_resamples=0)).differences == ()


def test_classification_is_tested_on_weighted_f1(tmp_path: Path) -> None:
    labels = [0, 1, 2, 1]
    record = {"dataset": "meld", "family": "erc", "label_names": ERC_NAMES}
    groups = [
        read_group(write_run(tmp_path / name, predictions, labels, **record))
        for name, predictions in (("a", [0, 1, 1, 1]), ("b", [0, 1, 2, 0]))
    ]
    found = compare_groups(groups, Question(num_resamples=100))
    assert [difference.metric for difference in found.differences] == ["weighted_f1"]
    assert [metric.name for metric in found.metrics] == ["weighted_f1", "accuracy", "macro_f1"]


def test_runs_on_two_datasets_are_refused(tmp_path: Path) -> None:
    groups = [group(tmp_path / "a", noisy(0, 1.0)), group(tmp_path / "b", noisy(0, 1.0), dataset="mosi")]
    with pytest.raises(InputError, match="is a run on mosi"):
        compare_groups(groups)


def test_runs_on_other_samples_are_refused(tmp_path: Path) -> None:
    first = read_group(write_run(tmp_path / "a", [0.0, 1.0], [0.0, 1.0], ids=["x", "y"]))
    second = read_group(write_run(tmp_path / "b", [0.0, 1.0], [0.0, 1.0], ids=["x", "z"]))
    with pytest.raises(DataError, match=r"other test samples.*2 and 2 samples, 1 of them shared"):
        compare_groups([first, second])


def test_relabelled_samples_are_refused(tmp_path: Path) -> None:
    first = read_group(write_run(tmp_path / "a", [0.0, 1.0], [0.0, 1.0]))
    second = read_group(write_run(tmp_path / "b", [0.0, 1.0], [0.0, 1.5]))
    with pytest.raises(DataError, match="1 samples have other labels"):
        compare_groups([first, second])


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    only = read_group(write_run(tmp_path / "a", [0.0, 1.0], [0.0, 1.0], ids=["x", "x"]))
    with pytest.raises(DataError, match="1 sample ids occur more than once"):
        compare_groups([only])


def test_unknown_metrics_no_runs_and_published_validation_figures_are_refused(tmp_path: Path) -> None:
    only = group(tmp_path / "a", noisy(0, 1.0))
    with pytest.raises(UnknownNameError, match="acc2_has0"):
        compare_groups([only], Question(metric_names=["acc2"]))
    with pytest.raises(InputError, match="nothing to compare"):
        compare_groups([])
    with pytest.raises(InputError, match="of the test split"):
        compare_groups(
            [only], Question(split="valid"), published=[PublishedResult("s", "mosei", {}, "t", "high")]
        )


def test_names_take_as_many_parents_as_needed(tmp_path: Path) -> None:
    groups = [group(tmp_path / part / "run", noisy(0, 1.0)) for part in ("a", "b")]
    assert distinct_names(groups) == ["a/run", "b/run"]
    with pytest.raises(InputError, match="given twice"):
        distinct_names([groups[0], groups[0]])


def test_markdown_sets_the_best_run_in_bold(comparison: Comparison) -> None:
    lines = to_markdown(comparison).splitlines()
    assert lines[0] == "|  | MAE | Acc-2 Has0 | seeds |"
    best = comparison.rows[1].estimates["mae"]
    assert f"| better_50% | **{best.mean:.3f} ± {best.sd:.3f}** |" in lines[3]
    assert "**" not in lines[2].split("|")[2]
    assert "| mse-adapter (chatglm3-6b) | 0.515 | - | - |" in lines
    assert "mse-adapter (chatglm3-6b): Table 2. Confidence high." in lines


def test_shares_are_shown_as_shares(comparison: Comparison) -> None:
    row = next(line for line in to_markdown(comparison).splitlines() if line.startswith("| mean of"))
    assert row == "| mean of the training labels | 1.500 | 0.500 | - |"


def test_latex_is_escaped_and_balanced(comparison: Comparison) -> None:
    text = to_latex(comparison)
    assert r"better\_50\%" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in body[:5]} == {3}
    assert r"\textbf{" in text


def test_csv_and_json_hold_unrounded_values(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    mae = next(row for row in rows if row["name"] == "better_50%" and row["metric"] == "mae")
    assert float(mae["mean"]) == comparison.rows[1].estimates["mae"].mean
    assert float(mae["p_value"]) == comparison.differences[0].p_value
    assert mae["num_seeds"] == "3"
    content = json.loads(to_json(comparison))
    assert content["rows"][1]["estimates"]["mae"]["values"] == list(
        comparison.rows[1].estimates["mae"].values
    )
    assert content["differences"][0]["low"] == comparison.differences[0].low
    assert set(FORMATS) == {"markdown", "csv", "latex", "json"}


def test_json_has_null_for_what_is_undefined(tmp_path: Path) -> None:
    found = compare_groups([read_group(write_run(tmp_path, [1.0, 1.0], [0.5, 1.0]))])
    content = json.loads(to_json(found), parse_constant=lambda name: pytest.fail(name))
    assert content["rows"][0]["estimates"]["corr"]["mean"] is None


def test_a_share_that_is_neither_good_nor_bad_has_no_best(tmp_path: Path) -> None:
    groups = [group(tmp_path / name, noisy(seed, 1.0)) for name, seed in (("a", 0), ("b", 1))]
    found = compare_groups(groups, Question(all_metrics=True, num_resamples=0))
    zeros = next(metric for metric in found.metrics if metric.name == "zero_share")
    assert not any(is_best(zeros, row, found.rows) for row in found.rows)
