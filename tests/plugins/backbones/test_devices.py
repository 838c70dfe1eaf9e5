"""Which dtype `auto` takes."""

from __future__ import annotations

import pytest
import torch

from msakit.core.registry.registry import load_registry
from msakit.plugins.backbones import devices
from msakit.plugins.backbones.config import CausalLMConfig
from msakit.plugins.backbones.devices import choose_dtype
from msakit.plugins.backbones.loading import load, meta

CPU = torch.device("cpu")
computes_bfloat16 = devices.computes_bfloat16  # the function itself: the tests' session replaces it


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True, "avx2": True}, False)],
)
def test_a_processor_is_asked_for_arithmetic_of_its_own(monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert computes_bfloat16(CPU) is fast
    assert not computes_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, torch.bfloat16),
        ({"adaptation": "lora"}, torch.float32),
        ({"dtype": "float32"}, torch.float32),
        ({"dtype": "bfloat16", "adaptation": "lora"}, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_for_a_frozen_backbone_where_that_is_fast(monkeypatch, settings, expected):
    monkeypatch.setattr(devices, "computes_bfloat16", lambda device: True)
    assert choose_dtype(CausalLMConfig(**settings), CPU) == expected


def test_auto_is_float32_elsewhere():
    assert choose_dtype(CausalLMConfig(), CPU) == torch.float32


def test_what_was_taken_is_what_is_measured_and_loaded(monkeypatch):
    spec, config = load_registry(discover=False).backbone("tiny"), CausalLMConfig(device="cpu")
    slow = meta(spec, config).weight_bytes
    monkeypatch.setattr(devices, "computes_bfloat16", lambda device: True)
    assert meta(spec, config).weight_bytes == slow // 2
    assert load(spec, config).dtype == torch.bfloat16
