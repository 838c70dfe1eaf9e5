"""Metrics: equal to the released functions' values, and right where those are silent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from msakit import metrics
from msakit.core.errors import DataError, UnknownNameError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text())

RELEASED_NAMES = {
    "mosei": {
        "Has0_acc_2": "acc2_has0",
        "Has0_F1_score": "f1_has0",
        "Non0_acc_2": "acc2_non0",
        "Non0_F1_score": "f1_non0",
        "Mult_acc_5": "acc5",
        "Mult_acc_7": "acc7",
        "MAE": "mae",
        "Corr": "corr",
    },
    "sims": {
        "Mult_acc_2": "acc2",
        "F1_score": "f1",
        "Mult_acc_2_weak": "acc2_weak",
        "MAE": "mae",
        "Corr": "corr",
        "Mult_acc_3": "acc3",
        "Mult_acc_5": "acc5",
        "R_squre": "r2",
    },
    "erc": {"acc": "accuracy", "weight_F1": "weighted_f1"},
}
FAMILY = {
    "mosei": "mosei",
    "mosi": "mosei",
    "simsv2": "sims",
    "sims": "sims",
    "meld": "erc",
    "cherma": "erc",
    "iemocap": "erc",
}
NAN = float("nan")


@pytest.mark.parametrize("corpus", sorted(FAMILY))
def test_every_released_value_is_reproduced(corpus: str) -> None:
    golden, family = GOLDEN[corpus], FAMILY[corpus]
    ours = metrics.compute_metrics(family, golden["predictions"], golden["labels"])
    # The released MOSI/MOSEI function rounds to four decimals; its inputs are float32 everywhere.
    tolerance = 5.1e-5 if family == "mosei" else 1e-6
    assert set(golden["expected"]) == set(RELEASED_NAMES[family])
    for released, name in RELEASED_NAMES[family].items():
        assert ours[name] == pytest.approx(golden["expected"][released], abs=tolerance), released
        if family == "mosei" and name != "mae":
            assert round(ours[name], 4) == golden["expected"][released]


def test_float32_inputs_fall_into_the_same_classes_as_decimal_ones() -> None:
    golden = GOLDEN["simsv2"]
    decimal = metrics.compute_metrics("sims", golden["predictions"], golden["labels"])
    single = metrics.compute_metrics("sims", np.float32(golden["predictions"]), np.float32(golden["labels"]))
    assert single == pytest.approx(decimal, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_class_scores_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 6, 80), rng.integers(0, 7, 80)
    labels[labels == 2] = 0  # class 2 occurs only among the predictions
    ours = metrics.compute_metrics("erc", predictions, labels, label_names=list("abcdefgh"))
    assert ours["weighted_f1"] == pytest.approx(sk.f1_score(labels, predictions, average="weighted"))
    assert ours["macro_f1"] == pytest.approx(sk.f1_score(labels, predictions, average="macro"))
    present = np.unique(labels)
    assert ours["uar"] == pytest.approx(sk.recall_score(labels, predictions, average="macro", labels=present))
    per_class = sk.f1_score(labels, predictions, average=None, labels=range(7))
    assert [ours[f"f1:{name}"] for name in "abcdefg"] == pytest.approx(per_class)
    assert np.isnan(ours["f1:h"])
    assert [ours[f"support:{name}"] for name in "abcdefgh"] == [*np.bincount(labels, minlength=8)]
    matrix = metrics.confusion_matrix(predictions, labels, 8)
    assert (matrix[:, :8] == sk.confusion_matrix(labels, predictions, labels=range(8))).all()
    assert (matrix[:, 8] == 0).all()


def test_zero_is_non_negative_with_zeros_and_negative_without() -> None:
    values = metrics.compute_metrics("mosei", [0.0, 0.0, -0.0, 1.0], [1.0, -1.0, 0.0, 0.0])
    assert values["acc2_has0"] == 0.75
    assert values["acc2_non0"] == 0.5
    assert values["zero_share"] == 0.75


def test_halves_are_rounded_to_even() -> None:
    values = metrics.compute_metrics("mosei", [0.5, 1.5, 2.5, -2.5], [0.0, 2.0, 2.0, -3.0])
    assert values["acc7"] == 0.75


def test_a_missing_regression_prediction_is_wrong_and_leaves_the_error_alone() -> None:
    labels = [2.0, -1.0, 1.0, 0.0]
    complete = metrics.compute_metrics("mosei", [1.0, -1.0, 2.0], labels[:3])
    values = metrics.compute_metrics("mosei", [1.0, -1.0, 2.0, NAN], labels)
    assert values["missing_share"] == 0.25
    assert values["mae"] == complete["mae"]
    assert values["corr"] == complete["corr"]
    assert values["acc2_has0"] == 0.75
    assert values["acc7"] == 0.25
    assert values["zero_share"] == 0.0


def test_a_missing_class_is_wrong_and_costs_recall_only() -> None:
    values = metrics.compute_metrics("erc", [0, NAN, 1, 1], [0, 0, 1, 1], label_names=["a", "b"])
    assert values["accuracy"] == 0.75
    assert values["f1:a"] == pytest.approx(2 / 3)
    assert values["f1:b"] == 1.0
    assert values["weighted_f1"] == pytest.approx(5 / 6)
    assert values["macro_f1"] == pytest.approx(5 / 6)
    assert metrics.confusion_matrix([0, NAN, 1, 1], [0, 0, 1, 1], 2).tolist() == [[1, 0, 1], [0, 2, 0]]


@pytest.mark.parametrize("family", ["mosei", "sims"])
def test_all_predictions_missing(family: str) -> None:
    values = metrics.compute_metrics(family, [NAN, NAN], [0.5, -0.5])
    assert values["missing_share"] == 1.0
    assert np.isnan(values["mae"])
    assert np.isnan(values["corr"])
    assert values["acc3"] == values["acc5"] == values["f1_has0" if family == "mosei" else "f1"] == 0.0


def test_what_is_undefined_is_nan_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    constant = metrics.compute_metrics("sims", [0.2, 0.2], [0.9, -0.9])
    assert np.isnan(constant["corr"])
    assert np.isnan(constant["acc2_weak"])
    assert np.isnan(metrics.compute_metrics("mosei", [1.0], [0.0])["acc2_non0"])
    assert not recwarn.list


def test_baselines_learn_their_constant_from_training_labels_only() -> None:
    baselines = metrics.baseline_metrics("mosei", [0.0, 0.0, 3.0], [2.0, -1.0])
    assert set(baselines) == {"mean", "median"}
    assert baselines["mean"]["mae"] == 1.5
    assert baselines["median"]["mae"] == 1.5
    assert baselines["median"]["zero_share"] == 1.0
    majority = metrics.baseline_metrics("erc", [2, 2, 0], [0, 2, 2, 1], label_names=["a", "b", "c"])
    assert majority["majority"]["accuracy"] == 0.5
    assert majority["majority"]["f1:c"] == pytest.approx(2 / 3)


def test_the_best_checkpoint_goes_by_error_or_by_f1() -> None:
    chosen = {family: metrics.validation_metric(family) for family in metrics.FAMILIES}
    assert {family: (m.name, m.higher_is_better) for family, m in chosen.items()} == {
        "mosei": ("mae", False),
        "sims": ("mae", False),
        "erc": ("weighted_f1", True),
    }


def test_metric_names_are_unique_and_explained() -> None:
    for family in metrics.FAMILIES.values():
        assert len({metric.name for metric in family}) == len(family)
        assert all(metric.summary.endswith(".") for metric in family)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mosei", [], []), "no samples"),
        (("mosei", [1.0], [1.0, 2.0]), "cannot be compared"),
        (("mosei", [1.0], [NAN]), "1 labels are NaN"),
        (("mosei", [float("inf")], [1.0]), "infinite"),
        (("erc", [0.5], [1]), "not class indices"),
        (("erc", [1], [-1]), "not class indices"),
    ],
)
def test_bad_input_is_refused(arguments: tuple[str, list[float], list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.compute_metrics(*arguments)


def test_a_class_beyond_the_named_ones_is_refused() -> None:
    with pytest.raises(DataError, match=r"0 to 1.*first is 2"):
        metrics.compute_metrics("erc", [2], [1], label_names=["a", "b"])


def test_a_range_the_family_is_not_made_for_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(-3.0, 3.0\)"):
        metrics.compute_metrics("mosei", [0.1], [0.2], label_range=(-1.0, 1.0))


def test_unknown_names_suggest_the_right_one() -> None:
    with pytest.raises(UnknownNameError, match="mosei"):
        metrics.family_metrics("mosi")
    with pytest.raises(UnknownNameError, match="acc2_has0"):
        metrics.find_metric("mosei", "acc2_has")
