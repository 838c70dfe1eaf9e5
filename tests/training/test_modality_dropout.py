"""Modality dropout: how many samples lose what; and what stands in an absent modality's place."""

from __future__ import annotations

import pytest
import torch

from msakit.core.pipeline.adapter import Absent
from msakit.core.pipeline.batch import Batch
from msakit.core.tensors import Encoded, Sequence
from msakit.training.modality_dropout import drop_modalities


def batch(size):
    lengths = {"audio": torch.full((size,), 3), "vision": torch.full((size,), 2)}
    return Batch(
        [f"s{index}" for index in range(size)],
        ["text"] * size,
        {name: Sequence(torch.ones(size, 4, 5), length) for name, length in lengths.items()},
    )


def test_a_share_of_the_samples_loses_each_subset_equally_often():
    torch.manual_seed(0)
    full = batch(6000)
    dropped = drop_modalities(full, 0.3)
    audio, vision = (~dropped.modalities[name].present for name in ("audio", "vision"))
    for subset in (audio & ~vision, vision & ~audio, audio & vision):
        assert subset.float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert dropped.texts == full.texts
    assert (full.modalities["audio"].lengths == 3).all()


def test_a_share_of_zero_draws_nothing():
    state = torch.get_rng_state()
    full = batch(4)
    assert drop_modalities(full, 0.0) is full
    assert torch.equal(torch.get_rng_state(), state)


def test_a_learned_vector_stands_for_an_absent_modality():
    torch.manual_seed(0)
    absent = Absent(3)
    present, summary = torch.tensor([True, False]), torch.randn(2, 3)
    sequence = Sequence(torch.randn(2, 4, 3), torch.tensor([2, 0]))
    found = absent(Encoded(present, summary, sequence))
    assert found.present.all()
    assert torch.equal(found.summary, torch.stack([summary[0], absent.vector]))
    assert found.sequence.lengths.tolist() == [2, 1]
    assert torch.equal(found.sequence.values[0], sequence.values[0])
    assert torch.equal(found.sequence.values[1, 0], absent.vector)
    (found.summary.sum() + found.sequence.values[1, :1].sum()).backward()
    assert (absent.vector.grad == 2).all()


def test_a_batch_without_any_frame_has_the_vector_as_its_only_one():
    found = Absent(3)(Encoded(torch.tensor([False]), None, Sequence(torch.zeros(1, 0, 3), torch.tensor([0]))))
    assert found.sequence.lengths.tolist() == [1]
    assert found.sequence.values.shape == (1, 1, 3)
