"""The bootstrap agrees with theory, and Holm's correction with worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from msakit.metrics.bootstrap import holm, interval, num_clusters, p_value, resamples

NAN = float("nan")


def test_interval_and_p_value_of_a_mean_agree_with_theory() -> None:
    values = np.random.default_rng(3).normal(0.1, 1.0, 400)
    drawn = np.array([values[chosen].mean() for chosen in resamples(400, 4000)])
    error = values.std() / 20
    low, high = interval(drawn)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    expected = 2 * stats.norm.sf(abs(values.mean()) / error)
    assert p_value(values.mean(), drawn) == pytest.approx(expected, abs=0.02)


def test_clusters_are_drawn_whole_and_samples_without_one_alone() -> None:
    clusters = ["a", "b", "", "a", ""]
    assert num_clusters(clusters) == 4
    draws = list(resamples(5, 200, clusters))
    for chosen in draws:
        counts = np.bincount(chosen, minlength=5)
        assert counts[0] == counts[3]
        assert counts[0] + counts[1] + counts[2] + counts[4] == 4
    assert len({tuple(sorted(chosen)) for chosen in draws}) > 20
    again = resamples(5, 200, clusters)
    assert all(np.array_equal(one, two) for one, two in zip(draws, again, strict=True))


def test_undefined_resamples_are_left_out() -> None:
    assert interval(np.array([NAN, 1.0, NAN])) == (1.0, 1.0)
    assert np.isnan(interval(np.array([NAN]))).all()
    assert p_value(0.5, np.array([NAN, 0.5, -0.4])) == pytest.approx(2 / 3)
    assert np.isnan(p_value(NAN, np.array([0.1])))


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


def test_an_undefined_p_value_is_no_test() -> None:
    found = holm([NAN, 0.02, 0.03])
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.04, 0.04])
