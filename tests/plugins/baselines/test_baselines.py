"""The baselines' numbers, from the papers' formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from msakit.core.tensors import Fused, Sequence
from msakit.plugins.baselines.config import (
    ConcatConfig,
    FrameConfig,
    LMFConfig,
    MulTConfig,
    PromptTuningConfig,
    SumConfig,
    TFNConfig,
)
from msakit.plugins.baselines.constant import NoFusion, NoInjection, PromptFusion
from msakit.plugins.baselines.encoder import FrameEncoder
from msakit.plugins.baselines.mult import MultimodalTransformer, positions
from msakit.plugins.baselines.pooled import ConcatFusion, StreamVectors, SumFusion
from msakit.plugins.baselines.tensor import LowRankFusion, Subnets, TensorFusion
from msakit.testing.batches import as_encoded, drop, random_batch
from msakit.testing.comparison import assert_close

SIZES = {"audio": 8, "vision": 12}


def batch() -> dict[str, Sequence]:
    return random_batch({"text": 32, **SIZES})


def encode(streams: dict[str, Sequence]) -> dict[str, object]:
    return {name: as_encoded(streams[name]) for name in SIZES}


def fuse(fuser: nn.Module, streams: dict[str, Sequence]) -> Fused:
    return fuser(streams["text"], encode(streams))


def vectors(streams: dict[str, Sequence]) -> dict[str, torch.Tensor]:
    """Layer-normalised mean of the real tokens and frames, zeros where there are none."""
    found = {}
    for name, stream in streams.items():
        rows = []
        for values, length in zip(stream.values, stream.lengths.tolist(), strict=True):
            mean = values[:length].mean(0) if length else torch.zeros(values.shape[1])
            rows.append((mean - mean.mean()) / (mean.var(unbiased=False) + 1e-5).sqrt())
        found[name] = torch.stack(rows)
    return found


def test_streams_are_normalised_on_demand() -> None:
    streams, widths = drop(batch(), ["audio"], [2]), {"text": 32, **SIZES}
    normalised = StreamVectors(widths, normalise=True)(streams["text"], encode(streams))
    plain = StreamVectors(widths, normalise=False)(streams["text"], encode(streams))
    for name, expected in vectors(streams).items():
        assert_close(name, normalised[name][0], expected, tolerance=1e-5)
        assert torch.equal(normalised[name][1], streams[name].present)
    audio = as_encoded(streams["audio"])
    assert audio.summary is not None
    expected = audio.summary * audio.present[:, None]  # what is absent counts as zeros
    assert_close("audio", plain["audio"][0], expected, tolerance=1e-6)


def test_nothing_is_trained_and_nothing_injected_without_fusion() -> None:
    fuser = NoFusion({}, 32)
    injector = NoInjection(fuser.output_size, fuser.num_tokens, 32)
    fused = fuser(batch()["text"], {})
    assert fused.tokens.shape == (4, 0, 32)
    assert injector(fused).shape == (4, 0, 32)
    assert not [*fuser.parameters(), *injector.parameters()]


def test_no_injection_refuses_tokens() -> None:
    with pytest.raises(ValueError, match="throw the fuser's tokens away"):
        NoInjection(16, 1, 32)


def test_a_prompt_is_the_same_for_everyone() -> None:
    fuser = PromptFusion(SIZES, 32, **dict(PromptTuningConfig(tokens=3, size=16)))
    tokens = fuse(fuser, batch()).tokens
    assert_close("tokens", tokens, fuser.tokens.expand(4, 3, 16), tolerance=0)
    assert fuser.tokens.requires_grad


def test_the_frame_encoder_sees_one_frame_at_a_time() -> None:
    encoder = FrameEncoder(7, **dict(FrameConfig(output_size=5)))
    stream = random_batch({"modality": 7})["modality"]
    encoded, layer = encoder(stream), encoder.projection[0]
    for row, length in enumerate(stream.lengths.tolist()):
        frames = stream.values[row, :length] @ layer.weight.T + layer.bias
        assert_close("frames", encoded.sequence.values[row, :length], frames, tolerance=1e-5)
        assert_close("summary", encoded.summary[row], frames.mean(0), tolerance=1e-5)


def test_concat_is_two_layers_on_all_streams() -> None:
    torch.manual_seed(0)
    fuser, streams = ConcatFusion(SIZES, 32, **dict(ConcatConfig(size=16))), batch()
    joined = torch.cat(list(vectors(streams).values()), dim=-1)
    hidden = nn.functional.gelu(fuser.layers[0](joined))
    assert_close("tokens", fuse(fuser, streams).tokens[:, 0], fuser.layers[3](hidden), tolerance=1e-5)


def test_sum_is_additive_and_loses_an_absent_streams_part_alone() -> None:
    torch.manual_seed(0)
    fuser, streams = SumFusion(SIZES, 32, **dict(SumConfig(size=16))), batch()
    parts = {name: fuser.projections[name](values) for name, values in vectors(streams).items()}
    assert_close("tokens", fuse(fuser, streams).tokens[:, 0], sum(parts.values()), tolerance=1e-5)
    without = fuse(fuser, drop(streams, ["audio"])).tokens[:, 0]
    assert_close("without audio", without, parts["text"] + parts["vision"], tolerance=1e-5)


def subnet_outputs(subnets: Subnets, streams: dict[str, Sequence]) -> list[np.ndarray]:
    outputs = []
    for name, values in vectors(streams).items():
        hidden = subnets.layers[name](values).detach().numpy()
        hidden = hidden * streams[name].present.numpy()[:, None]
        outputs.append(np.concatenate([hidden, np.ones_like(hidden[:, :1])], axis=1))
    return outputs


@pytest.mark.parametrize("absent", [[], ["audio"], ["text", "vision"]])
def test_tfn_is_the_outer_product(absent: list[str]) -> None:
    torch.manual_seed(0)
    fuser = TensorFusion(SIZES, 32, **dict(TFNConfig(subnet_size=4, size=16)))
    streams = drop(batch(), absent)
    product = np.einsum("bi,bj,bk->bijk", *subnet_outputs(fuser.subnets, streams)).reshape(4, -1)
    layer = fuser.layers[1]
    expected = torch.from_numpy(product) @ layer.weight.T + layer.bias
    assert_close("tokens", fuse(fuser, streams).tokens[:, 0], expected.relu(), tolerance=1e-5)


@pytest.mark.parametrize("absent", [[], ["vision"], ["audio", "vision"]])
def test_lmf_is_a_linear_of_the_outer_product_in_factors(absent: list[str]) -> None:
    torch.manual_seed(0)
    fuser = LowRankFusion(SIZES, 32, **dict(LMFConfig(rank=3, subnet_size=4, size=16)))
    fuser.bias.data += torch.randn(16)
    streams = drop(batch(), absent)
    factors = [factor.detach().numpy() for factor in fuser.factors]
    weight = np.einsum("r,rif,rjf,rkf->ijkf", fuser.weights.detach().numpy(), *factors)
    expected = np.einsum("bi,bj,bk,ijkf->bf", *subnet_outputs(fuser.subnets, streams), weight)
    expected = torch.from_numpy(expected) + fuser.bias
    assert_close("tokens", fuse(fuser, streams).tokens[:, 0], expected, tolerance=1e-5)


def test_with_everything_absent_the_constant_is_left() -> None:
    fuser = LowRankFusion(SIZES, 32, **dict(LMFConfig(rank=2, subnet_size=4, size=16)))
    constants = torch.stack([factor[:, -1] for factor in fuser.factors]).prod(0)
    expected = fuser.weights @ constants + fuser.bias
    tokens = fuse(fuser, drop(batch(), ["text", *SIZES])).tokens
    assert_close("tokens", tokens, expected.expand(4, 1, 16), tolerance=1e-6)


def test_an_outer_product_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="lower subnet_size 128"):
        TensorFusion(SIZES, 32, **dict(TFNConfig(subnet_size=128)))


def mult(**settings: int) -> MultimodalTransformer:
    torch.manual_seed(0)
    config = MulTConfig(**{"size": 8, "output_size": 16, "num_heads": 2, "num_layers": 1, **settings})
    return MultimodalTransformer(SIZES, 32, **dict(config)).eval()


def test_mult_equals_each_samples_own() -> None:
    fuser, streams = mult(), batch()
    tokens = fuse(fuser, streams).tokens
    for row in range(4):
        own = {}
        for name, stream in streams.items():
            values = fuser.projections[name](stream.values[None, row, : stream.lengths[row]])
            own[name] = values * 8**0.5 + positions(values)
        lasts = []
        for name, target in fuser.targets.items():
            others = [other for other in own if other != name]
            reinforced = []
            for transformer, other in zip(target.crossmodal, others, strict=True):
                layer, values = transformer.layers[0], own[name]
                keys = layer.key_norm(own[other])
                values = values + layer.attention.attention(layer.query_norm(values), keys, keys)[0]
                reinforced.append(values + layer.feed_forward(values))
            lasts.append(target.memory.layers[0](torch.cat(reinforced, dim=-1))[:, -1])
        joined = torch.cat(lasts, dim=-1)
        expected = fuser.output(joined + fuser.residual(joined))
        assert_close("token", tokens[row], expected, tolerance=1e-4)


def test_positions_are_sinusoids() -> None:
    actual = positions(torch.zeros(1, 4, 6))
    for step in range(4):
        for index in range(3):
            angle = step / 10_000 ** (2 * index / 6)
            assert actual[step, index].item() == pytest.approx(np.sin(angle), abs=1e-6)
            assert actual[step, 3 + index].item() == pytest.approx(np.cos(angle), abs=1e-6)


@pytest.mark.parametrize("size", [9, 7])
def test_mult_refuses_widths_it_cannot_split(size: int) -> None:
    with pytest.raises(ValueError, match="must be even and a multiple"):
        mult(size=size)


def test_mult_refuses_no_modality() -> None:
    with pytest.raises(ValueError, match="at least one modality"):
        MultimodalTransformer({}, 32, **dict(MulTConfig()))
