"""Modalities taken from a share of the samples."""

from __future__ import annotations

import numpy as np
import pytest

from msakit.core.errors import InputError
from msakit.evaluation.ablation import Ablation, ablate
from msakit.samples.samples import Samples


def test_seed_and_sample_alone_decide_who_goes_without():
    names = [f"sample {index}" for index in range(4000)]
    gone = np.array([Ablation("audio", rate=0.3, seed=1).takes(name) for name in names])
    assert gone.mean() == pytest.approx(0.3, abs=0.025)
    more = np.array([Ablation("audio", rate=0.5, seed=1).takes(name) for name in names])
    assert more[gone].all()  # a higher rate takes from these too
    for other in (Ablation("audio", rate=0.3, seed=2), Ablation("text", rate=0.3, seed=1)):
        both = gone & np.array([other.takes(name) for name in names])
        assert both.mean() == pytest.approx(0.09, abs=0.02)
    assert all(Ablation("audio").takes(name) for name in names)
    assert not any(Ablation("audio", rate=0.0).takes(name) for name in names)


def test_a_batch_lacks_what_was_taken(store, resolved):
    samples = Samples.open(store, resolved)
    batch = samples.batch(samples.rows("train"))
    ablations = [Ablation("audio", rate=0.5, seed=3), Ablation("text", rate=0.5, seed=3)]
    left = ablate(batch, ablations, samples)
    audio, text = ([each.takes(name) for name in batch.ids] for each in ablations)
    assert 0 < sum(audio) < len(batch)
    assert (left.modalities["audio"].lengths == 0).tolist() == audio
    kept = ~np.array(audio)
    assert np.array_equal(left.modalities["audio"].lengths[kept], batch.modalities["audio"].lengths[kept])
    assert left.modalities["vision"] is batch.modalities["vision"]
    assert [said is None for said in left.texts] == text


@pytest.mark.parametrize(("how", "rate"), [("absent", 1.5), ("absent", -0.1), ("mean", 0.5)])
def test_rates_that_mean_nothing_are_refused(how, rate):
    with pytest.raises(InputError, match="a missing rate is a share from 0 to 1"):
        Ablation("audio", how, rate=rate)
