"""Shared building blocks against PyTorch's own, sample by sample and without padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from msakit.core.tensors import Encoded, Sequence
from msakit.nn import (
    Attention,
    RMSScale,
    SequenceLSTM,
    TokenBlock,
    last_frame,
    masked_mean,
    reverse,
    sequence_of,
    summary_of,
)
from msakit.testing.comparison import assert_close

LENGTHS = torch.tensor([5, 2, 1, 4])


def sequence(width: int = 3) -> Sequence:
    torch.manual_seed(0)
    return Sequence(torch.randn(4, 5, width), LENGTHS)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_lstm_equals_packing(*, bidirectional: bool) -> None:
    ours = SequenceLSTM(3, 4, 2, bidirectional=bidirectional)
    theirs = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=bidirectional)
    for index in range(2):
        for suffix, layers in (("", ours.forward_layers), ("_reverse", ours.backward_layers)):
            if layers:
                for name, weight in layers[index].named_parameters():
                    getattr(theirs, name.replace("_l0", f"_l{index}") + suffix).data.copy_(weight.data)
    frames = sequence()
    packed = pack_padded_sequence(frames.values, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    actual = ours(frames)
    assert_close("states", actual.values * actual.mask[..., None], expected, tolerance=1e-6)


def test_reverse_turns_real_frames_only_and_is_its_own_inverse() -> None:
    frames = Sequence(torch.arange(10.0).reshape(2, 5, 1), torch.tensor([3, 0]))
    assert reverse(frames).flatten(1).tolist() == [[2, 1, 0, 3, 4], [5, 6, 7, 8, 9]]
    assert torch.equal(reverse(Sequence(reverse(frames), frames.lengths)), frames.values)


def test_masked_mean_and_last_frame() -> None:
    values = torch.tensor([[[1.0], [3.0], [float("nan")]], [[float("nan")]] * 3])
    frames = Sequence(values, torch.tensor([2, 0]))
    assert masked_mean(values, frames.mask).tolist() == [[2.0], [0.0]]
    assert last_frame(frames)[0].tolist() == [3.0]


def test_attention_equals_unmasked_attention_of_each_sample_alone() -> None:
    attention, queries, keys = Attention(8, 2, 0.0), torch.randn(4, 3, 8), sequence(8)
    mixed, weights = attention(queries, keys.values, keys.mask, need_weights=True)
    quiet, none = attention(queries, keys.values, keys.mask)
    assert none is None
    assert_close("without weights", quiet, mixed, tolerance=1e-6)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, shares = attention.attention(
            queries[row : row + 1], keys.values[row : row + 1, :length], keys.values[row : row + 1, :length]
        )
        assert_close("mixed", mixed[row], alone[0], tolerance=1e-6)
        assert_close("weights", weights[row, :, :length], shares[0], tolerance=1e-6)
        assert not weights[row, :, length:].any()


def test_attention_over_nothing_is_zero() -> None:
    mask = torch.tensor([[False, False], [True, False]])
    mixed, weights = Attention(4, 2, 0.0)(torch.randn(2, 3, 4), torch.randn(2, 2, 4), mask, need_weights=True)
    assert not mixed[0].any()
    assert not weights[0].any()
    assert mixed[1].abs().min() > 0
    assert mask.tolist() == [[False, False], [True, False]]


def test_token_block_equals_a_block_over_the_tokens_there_are() -> None:
    torch.manual_seed(1)
    block, tokens = TokenBlock(8, 2, 2, 0.0), torch.randn(2, 3, 8)
    actual = block(tokens, torch.tensor([[True, False, True], [False, False, False]]))
    expected = tokens[:1, [0, 2]]
    for layer in block.layers:
        expected = layer(expected)
    assert_close("tokens", actual[:1, [0, 2]], expected, tolerance=1e-6)
    assert not actual[0, 1].any()
    assert not actual[1].any()


def test_rms_scale_gives_every_vector_its_size() -> None:
    scaled = RMSScale(0.3)(torch.randn(5, 7, 16) * torch.logspace(-2, 3, 5)[:, None, None])
    assert_close("rms", scaled.square().mean(-1).sqrt(), torch.full((5, 7), 0.3), tolerance=1e-4)


def test_a_missing_form_is_named() -> None:
    encoded = Encoded(present=torch.ones(1, dtype=torch.bool))
    with pytest.raises(ValueError, match="summary"):
        summary_of(encoded)
    with pytest.raises(ValueError, match="sequence"):
        sequence_of(encoded)
