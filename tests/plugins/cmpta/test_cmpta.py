"""CMPTA's tokens, computed once more for each sample alone and without masks."""

from __future__ import annotations

import itertools

import pytest
import torch

from msakit.core.tensors import Encoded, Fused, Sequence
from msakit.plugins.cmpta.config import BiLSTMConfig, CMPTAConfig
from msakit.plugins.cmpta.encoder import BiLSTMEncoder
from msakit.plugins.cmpta.fuser import CrossModalTokens
from msakit.plugins.mse_adapter.config import LSTMConfig, PseudoConfig, TGMConfig
from msakit.plugins.mse_adapter.encoder import LSTMEncoder
from msakit.plugins.mse_adapter.fuser import TextGuidedMixer
from msakit.plugins.mse_adapter.injector import PseudoTokens
from msakit.testing.batches import as_encoded, drop, random_batch
from msakit.testing.comparison import assert_close

SIZES = {"vision": 16, "audio": 24}


def fuser(**settings: object) -> CrossModalTokens:
    torch.manual_seed(0)
    module = CrossModalTokens(SIZES, 32, **dict(CMPTAConfig(size=16, num_heads=4, **settings)))
    return module.eval()


def fuse(module: CrossModalTokens, batch: dict[str, Sequence]) -> Fused:
    return module(batch["text"], {name: as_encoded(batch[name]) for name in SIZES})


def stream(module: CrossModalTokens, batch: dict[str, Sequence], name: str, row: int) -> torch.Tensor:
    values = batch[name].values[None, row, : batch[name].lengths[row]]
    return module.text_projection(values) if name == "text" else module.projections[name](values)


def test_six_ordered_pairs_text_first() -> None:
    assert fuser().pairs == [
        ("text", "vision"),
        ("text", "audio"),
        ("vision", "text"),
        ("vision", "audio"),
        ("audio", "text"),
        ("audio", "vision"),
    ]


@pytest.mark.parametrize("pooling", ["mean", "query"])
def test_tokens_and_attention_equal_each_samples_own(pooling: str) -> None:
    module, batch = fuser(pooling=pooling), random_batch({"text": 32, **SIZES})
    fused = fuse(module, batch)
    for row in range(4):
        tokens = []
        for index, (asking, asked) in enumerate(itertools.permutations(("text", "vision", "audio"), 2)):
            queries, keys = (stream(module, batch, name, row) for name in (asking, asked))
            mixed, weights = module.attentions[index].attention(queries, keys, keys)
            if pooling == "mean":
                tokens.append(mixed.mean(1))
            else:
                shares = (mixed @ module.pools[index].query / 4).softmax(-1)
                tokens.append((shares[..., None] * mixed).sum(1))
            if asking == "text":
                shown = fused.diagnostics[f"attention_text_{asked}"][row]
                length, frames = weights.shape[1:]
                assert_close("attention", shown[:length, :frames], weights[0], tolerance=1e-6)
                assert not shown[length:].any()
                assert not shown[:, frames:].any()
        expected = module.block.layers[0](torch.stack(tokens, dim=1))
        assert_close("tokens", fused.tokens[row], expected[0], tolerance=1e-5)


def test_attention_is_shown_in_evaluation_only() -> None:
    module, batch = fuser(), random_batch({"text": 32, **SIZES})
    shown = fuse(module, batch).diagnostics
    assert {name: tuple(maps.shape) for name, maps in shown.items()} == {
        "attention_text_vision": (4, 6, 6),
        "attention_text_audio": (4, 6, 6),
    }
    assert fuse(module.train(), batch).diagnostics == {}


def test_pairs_of_an_absent_stream_are_zero_and_unseen() -> None:
    module, batch = fuser(), random_batch({"text": 32, **SIZES})
    tokens = fuse(module, drop(batch, ["audio"], [2])).tokens[2]
    assert [bool(token.any()) for token in tokens] == [True, False, True, False, False, False]
    pairs = []
    for index, (asking, asked) in ((0, ("text", "vision")), (2, ("vision", "text"))):
        queries, keys = (stream(module, batch, name, 2) for name in (asking, asked))
        pairs.append(module.attentions[index].attention(queries, keys, keys)[0].mean(1))
    expected = module.block.layers[0](torch.stack(pairs, dim=1))
    assert_close("tokens", tokens[[0, 2]], expected[0], tolerance=1e-5)


def test_without_text_only_vision_and_audio_meet() -> None:
    module, batch = fuser(), random_batch({"text": 32, **SIZES})
    tokens = fuse(module, drop(batch, ["text"])).tokens
    assert tokens.any(dim=-1).tolist() == [[False, False, False, True, False, True]] * 4


def test_bad_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        CrossModalTokens(SIZES, 32, **dict(CMPTAConfig(size=12)))
    with pytest.raises(ValueError, match="at least one modality"):
        CrossModalTokens({}, 32, **dict(CMPTAConfig()))


def test_a_summary_is_not_enough() -> None:
    encoded = {
        name: Encoded(present=torch.ones(1, dtype=torch.bool), summary=torch.zeros(1, size))
        for name, size in SIZES.items()
    }
    with pytest.raises(ValueError, match="sequence"):
        fuser()(Sequence(torch.zeros(1, 1, 32), torch.tensor([1])), encoded)


def test_the_encoder_aligns_every_frame_and_averages_them() -> None:
    torch.manual_seed(0)
    encoder = BiLSTMEncoder(7, **dict(BiLSTMConfig(hidden_size=5, output_size=12))).eval()
    encoded = encoder(random_batch({"modality": 7})["modality"])
    for row, length in enumerate(encoded.sequence.lengths.tolist()):
        frames = encoded.sequence.values[row, :length]
        assert_close("frame means", frames.mean(-1), torch.zeros(length), tolerance=1e-5)
        assert_close("summary", encoded.summary[row], frames.mean(0), tolerance=1e-6)


def test_parameters_beside_mse_adapters() -> None:
    """SIMS-V2 features, a backbone of width 2048, six tokens; the counts docs/papers/cmpta.md gives."""
    widths, hidden_size = {"vision": 177, "audio": 25}, 2048
    with torch.device("meta"):
        fusion = CrossModalTokens({"vision": 256, "audio": 256}, hidden_size, **dict(CMPTAConfig()))
        cmpta = [
            *(BiLSTMEncoder(width, **dict(BiLSTMConfig())) for width in widths.values()),
            fusion,
            PseudoTokens(256, fusion.num_tokens, hidden_size, **dict(PseudoConfig(tokens=6))),
        ]
        mse_adapter = [
            *(LSTMEncoder(width, **dict(LSTMConfig())) for width in widths.values()),
            TextGuidedMixer({"vision": 256, "audio": 256}, hidden_size, **dict(TGMConfig())),
            PseudoTokens(256, 1, hidden_size, **dict(PseudoConfig(tokens=6))),
        ]
    counts = [sum(p.numel() for module in part for p in module.parameters()) for part in (cmpta, mse_adapter)]
    attention = 4 * 256 * 257
    block = attention + 2 * 4 * 256 * 256 + 5 * 256 + 4 * 256
    encoders = sum(2 * 4 * 64 * (width + 64 + 2) + 128 * 256 + 256 + 512 for width in widths.values())
    assert counts[0] == encoders + 2048 * 256 + 256 + 6 * attention + block + 256 * 2048 + 2048
    assert counts == [3_657_728, 1_400_272]
