"""What MSE-Adapter's parts do beyond the released code."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from msakit.core.tensors import Encoded, Fused, Sequence
from msakit.plugins.mse_adapter.config import TGMConfig
from msakit.plugins.mse_adapter.fuser import TextGuidedMixer
from msakit.plugins.mse_adapter.injector import PseudoTokens
from msakit.testing.batches import as_encoded, drop, random_batch
from msakit.testing.comparison import assert_close

SIZES = {"audio": 16, "vision": 16}


def mixer(**settings: object) -> TextGuidedMixer:
    torch.manual_seed(0)
    return TextGuidedMixer(SIZES, 32, **dict(TGMConfig(**settings)))


def fuse(fuser: TextGuidedMixer, batch: dict[str, Sequence]) -> Fused:
    return fuser(batch["text"], {name: as_encoded(batch[name]) for name in SIZES})


def test_without_text_the_gate_is_one() -> None:
    fuser, batch = mixer(scales=()), random_batch({"text": 32, **SIZES})
    summaries = [as_encoded(batch[name]).summary for name in SIZES]
    assert_close("tokens", fuse(fuser, drop(batch, ["text"])).tokens[:, 0], sum(summaries), tolerance=1e-6)


def test_the_gate_is_the_mean_of_the_real_text() -> None:
    fuser, batch = mixer(scales=(), gate_activation="sigmoid"), random_batch({"text": 32, **SIZES})
    tokens = fuse(fuser, batch).tokens
    for row in range(4):
        words = batch["text"].values[row, : batch["text"].lengths[row]]
        gate = (words.mean(0) @ fuser.text_projection.weight.T + fuser.text_projection.bias).sigmoid()
        both = sum(as_encoded(batch[name]).summary[row] for name in SIZES)
        assert_close("token", tokens[row, 0], both * gate, tolerance=1e-5)


def test_an_absent_modality_contributes_nothing() -> None:
    fuser, batch = mixer(), random_batch({"text": 32, **SIZES})
    absent = fuse(fuser, drop(batch, ["audio"], [0]))
    assert absent.diagnostics["contribution"][0, 0] == 0
    assert (absent.diagnostics["contribution"][0, 1] > 0).all()
    silent = {**batch, "audio": Sequence(torch.zeros_like(batch["audio"].values), batch["audio"].lengths)}
    assert_close("token", absent.tokens[0], fuse(fuser, silent).tokens[0], tolerance=1e-6)


def test_the_residual_is_the_mix() -> None:
    batch = random_batch({"text": 32, **SIZES})
    added = fuse(mixer(residual=True), batch).tokens - fuse(mixer(), batch).tokens
    assert_close("mix", added, fuse(mixer(scales=()), batch).tokens, tolerance=1e-6)


def test_settings_beyond_the_paper_let_samples_differ_from_the_start() -> None:
    batch = random_batch({"text": 32, **SIZES})
    spread = [fuse(mixer(normalise=on, residual=on), batch).tokens.std(dim=0).mean() for on in (False, True)]
    assert spread[1] > 10 * spread[0]


@pytest.mark.parametrize("sizes", [{"audio": 16, "vision": 8}, {}])
def test_modalities_must_be_equally_wide(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="equally wide"):
        TextGuidedMixer(sizes, 32, **dict(TGMConfig()))


def test_a_scale_must_leave_a_unit() -> None:
    with pytest.raises(ValueError, match="scale of 32"):
        TextGuidedMixer(SIZES, 16, **dict(TGMConfig()))


def injector(num_tokens: int, tokens: int, expansion: str = "auto") -> PseudoTokens:
    torch.manual_seed(0)
    return PseudoTokens(16, num_tokens, 32, tokens=tokens, expansion=expansion, rms=None)


def test_as_many_tokens_as_fused_are_taken_as_they_are() -> None:
    pseudo, tokens = injector(6, 6), torch.randn(2, 6, 16)
    assert_close("tokens", pseudo(Fused(tokens)), pseudo.projection(tokens), tolerance=0)


@pytest.mark.parametrize("tokens", [5, 7, 8])
def test_other_counts_are_read_by_learned_queries(tokens: int) -> None:
    pseudo, fused = injector(6, tokens), torch.randn(2, 6, 16)
    wide, queries = pseudo.projection(fused), pseudo.expansion.queries
    keys = wide / wide.square().mean(-1, keepdim=True).sqrt()
    weights = (queries @ keys.transpose(1, 2) / 32**0.5).softmax(-1)
    assert_close("tokens", pseudo(Fused(fused)), weights @ wide, tolerance=1e-5)


@pytest.mark.parametrize("tokens", [5, 7, 8])
def test_learned_queries_start_with_different_tokens(tokens: int) -> None:
    torch.manual_seed(0)
    fused = 0.6 * torch.randn(64, 6, 256) + 0.8 * torch.randn(64, 1, 256)  # alike, as a sample's tokens are
    module = PseudoTokens(256, 6, 576, tokens, "auto", None)
    unit = nn.functional.normalize(module(Fused(fused)), dim=-1)
    others = ~torch.eye(tokens, dtype=torch.bool)
    assert (unit @ unit.transpose(1, 2))[:, others].mean() < 0.9


def test_one_token_is_expanded_to_rank_two() -> None:
    pseudo = injector(1, 6)(Fused(torch.randn(1, 1, 16)))
    assert torch.linalg.matrix_rank(pseudo[0], atol=1e-4) == 2


def test_parameters_of_each_expansion() -> None:
    counts = {
        (k0, k, expansion): sum(p.numel() for p in injector(k0, k, expansion).expansion.parameters())
        for k0, k, expansion in itertools.product((1, 6), (5, 6), ("auto", "linear", "queries"))
    }
    assert counts == {
        (1, 5, "auto"): 10,
        (1, 5, "linear"): 10,
        (1, 5, "queries"): 5 * 32,
        (1, 6, "auto"): 12,
        (1, 6, "linear"): 12,
        (1, 6, "queries"): 6 * 32,
        (6, 5, "auto"): 5 * 32,
        (6, 5, "linear"): 35,
        (6, 5, "queries"): 5 * 32,
        (6, 6, "auto"): 0,
        (6, 6, "linear"): 42,
        (6, 6, "queries"): 6 * 32,
    }


def test_no_fused_token_is_refused() -> None:
    with pytest.raises(ValueError, match="gives tokens"):
        injector(0, 4)


def test_an_encoder_without_summary_is_refused() -> None:
    sequence = Sequence(torch.zeros(1, 2, 16), torch.tensor([2]))
    encoded = {name: Encoded(present=sequence.present, sequence=sequence) for name in SIZES}
    with pytest.raises(ValueError, match="summary"):
        mixer()(Sequence(torch.zeros(1, 2, 32), torch.tensor([2])), encoded)
