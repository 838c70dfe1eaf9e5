"""The arithmetic of `msakit diagnose`."""

from __future__ import annotations

import numpy as np
import pytest

from msakit.evaluation.diagnosis import attention_profile, linear_cka, subsets, summarise_weights


def test_weights_that_are_equal_that_choose_and_that_never_change() -> None:
    equal = summarise_weights(np.full((5, 4), 0.25), "abcd")
    assert equal.effective == pytest.approx(4.0)
    assert (equal.uniform_share, equal.one_hot_share, equal.varies) == (1.0, 0.0, False)
    choosing = summarise_weights(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.97, 0.03]]), "ab")
    assert choosing.mean == pytest.approx({"a": 2.47 / 4, "b": 1.53 / 4})
    assert (choosing.uniform_share, choosing.one_hot_share, choosing.varies) == (0.25, 0.75, True)
    entropy = -(0.97 * np.log(0.97) + 0.03 * np.log(0.03))
    assert choosing.effective == pytest.approx((1 + 1 + 2 + np.exp(entropy)) / 4)


def test_cka_is_one_up_to_rotation_and_scale_and_small_for_noise() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert linear_cka(values, 3 * values @ rotation + 5) == pytest.approx(1.0)
    assert linear_cka(values, rng.normal(size=(200, 6))) < 0.1
    # Of half of the (equally large, independent) dimensions: <K, L> / |K| |L| = 3 / sqrt(6 * 3).
    many = rng.normal(size=(4000, 6))
    assert linear_cka(many, many[:, :3]) == pytest.approx(np.sqrt(0.5), abs=0.03)
    assert np.isnan(linear_cka(values, np.ones((200, 2))))


def test_attention_is_spread_over_relative_time() -> None:
    profile = attention_profile([np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0]]), np.zeros((0, 3))])
    assert sum(profile) == pytest.approx(1.0)
    assert profile[:5] == pytest.approx([0.75 / 5] * 5)
    assert profile[5:10] == pytest.approx([0.25 / 5] * 5)
    assert profile[10:] == pytest.approx([0.0] * 10)
    three = attention_profile([np.full((1, 3), 1 / 3)])
    assert three == pytest.approx([0.05] * 20)


def test_every_choice_of_streams_but_none() -> None:
    assert subsets(("text", "audio")) == [(), ("text",), ("audio",)]
    assert len(subsets(("text", "audio", "vision"))) == 7
