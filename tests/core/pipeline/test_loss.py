"""Class weights and the focal loss, against torch's own and against arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from msakit.core.pipeline.loss import AnswerLosses, LossWeighting, balanced_weights, named_weights

LABELS = [0.0, 2.0, 1.0, 2.0]
LOGITS = torch.tensor([[1.0, 0.2, -1.0], [0.3, 0.1, 0.4], [2.0, -1.0, 0.0], [0.0, 0.5, 3.0]])


def per_sample():
    labels = torch.tensor(LABELS).long()
    return AnswerLosses(functional.cross_entropy(LOGITS, labels, reduction="none"), [1] * 4)


def test_without_weights_every_token_counts_the_same():
    losses = AnswerLosses(torch.tensor([1.0, 2.0, 6.0]), [2, 1])
    assert LossWeighting()(losses, [0.0, 1.0]).item() == 3.0


def test_class_weights_agree_with_torch():
    weights = (0.5, 2.0, 3.0)
    expected = functional.cross_entropy(LOGITS, torch.tensor(LABELS).long(), weight=torch.tensor(weights))
    torch.testing.assert_close(LossWeighting(weights)(per_sample(), LABELS), expected)


def test_every_token_of_an_answer_has_its_samples_weight():
    losses = AnswerLosses(torch.tensor([1.0, 2.0, 6.0]), [2, 1])
    assert LossWeighting((1.0, 3.0))(losses, [0.0, 1.0]).item() == pytest.approx((1 + 2 + 18) / 5)


def test_the_focal_loss_uses_the_probability_of_the_whole_answer():
    losses = AnswerLosses(torch.tensor([0.5, 0.7, 0.1], dtype=torch.float64), [2, 1])
    factors = [(1 - torch.tensor(-total, dtype=torch.float64).exp().item()) ** 2 for total in (1.2, 0.1)]
    expected = (1.2 * factors[0] + 0.1 * factors[1]) / 3
    assert LossWeighting(focal_gamma=2.0)(losses, [0.0, 1.0]).item() == pytest.approx(expected, abs=1e-12)


def test_a_sure_answer_leaves_a_finite_focal_gradient():
    logits = torch.tensor([[60.0, 0.0]], requires_grad=True)
    losses = AnswerLosses(functional.cross_entropy(logits, torch.tensor([0]), reduction="none"), [1])
    LossWeighting(focal_gamma=0.5)(losses, [0.0]).backward()
    assert logits.grad.isfinite().all()


def test_balanced_weights_are_scikit_learns():
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    labels = [0, 0, 0, 1, 2, 2]
    expected = class_weight.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(labels, 3) == pytest.approx(expected)


def test_a_class_that_training_lacks_weighs_nothing():
    assert balanced_weights([0, 0, 2], 3) == (0.75, 0.0, 1.5)


def test_named_weights_follow_the_order_of_the_classes():
    assert named_weights({"joy": 2.0}, ["anger", "joy"]) == (1.0, 2.0)
