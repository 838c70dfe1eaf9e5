"""Attention in float32 inside a bfloat16 backbone: where it is used, and that it is attention."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM

from msakit.plugins.backbones.attention import FLOAT32_SDPA, sdpa_float32

from .conftest import ARCHITECTURES, make_backbone

CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()


class Layer(torch.nn.Module):
    """What transformers hands over of an attention layer: six query heads share two of keys and values."""

    num_key_value_groups = 3
    is_causal = True


def heads(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Queries [2, 6, 5, 16], keys and values [2, 2, 5, 16], bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 6, 5, 16), (2, 2, 5, 16), (2, 2, 5, 16)]
    return tuple(torch.randn(shape, generator=generator).bfloat16() for shape in shapes)


def plain_attention(query, key, value, seen):
    """The definition, in float64: [B, T, heads, D]."""
    query, key, value = (part.double() for part in (query, key, value))
    key, value = (part.repeat_interleave(3, dim=1) for part in (key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(16)
    return (scores.masked_fill(~seen, -math.inf).softmax(-1) @ value).transpose(1, 2)


def additive(seen):
    return torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill(~seen, -math.inf)


@pytest.mark.parametrize("mask", [None, CAUSAL[None, None], additive(CAUSAL)[None, None]])
def test_it_is_attention_rounded_once(mask):
    query, key, value = heads()
    output, weights = sdpa_float32(Layer(), query, key, value, mask)
    assert (output.dtype, weights) == (torch.bfloat16, None)
    expected = plain_attention(query, key, value, CAUSAL)
    torch.testing.assert_close(output, expected.bfloat16(), rtol=2**-8, atol=1e-6)  # the last bit


def test_gradients_are_those_of_float32():
    lowered = [part.requires_grad_() for part in heads()]
    widened = [part.detach().float().requires_grad_() for part in lowered]
    weights = torch.randn(2, 5, 6, 16, generator=torch.Generator().manual_seed(1)).bfloat16()
    (sdpa_float32(Layer(), *lowered, None)[0] * weights).sum().backward()
    (AttentionInterface()["sdpa"](Layer(), *widened, None)[0] * weights.float()).sum().backward()
    for one, other in zip(lowered, widened, strict=True):
        torch.testing.assert_close(one.grad, other.grad.bfloat16(), rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", FLOAT32_SDPA), ("float32", "sdpa")])
def test_only_a_bfloat16_backbone_on_a_processor_is_changed(kind, dtype, expected):
    config = make_backbone(kind, dtype=dtype).language_model.config
    assert config.get_text_config()._attn_implementation == expected


def test_a_saved_backbone_knows_nothing_of_it(tmp_path):
    make_backbone("llama", dtype="bfloat16").language_model.save_pretrained(tmp_path)
    assert FLOAT32_SDPA not in (tmp_path / "config.json").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"
