"""Attention in float32 inside a bfloat16 backbone, on processors.

Torch's fused attention has a slow backward pass for bfloat16 on CPUs: forward and backward of 16 samples of
12 tokens behind 60 take 8.4 ms, in float32 1.9 (torch 2.13, nine heads of 64, one core with avx512_bf16).
That was a third of a training step; and float32 is the more exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

FLOAT32_SDPA = "msakit_sdpa_float32"


def choose_attention(model: PreTrainedModel) -> None:
    """Have a bfloat16 model on a CPU attend in float32, unless it brings attention of its own."""
    lowered = model.device.type == "cpu" and model.dtype == torch.bfloat16
    if lowered and model.config.get_text_config()._attn_implementation == "sdpa":
        model.set_attn_implementation(FLOAT32_SDPA)


def sdpa_float32(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Transformers' own `sdpa` on float32 copies; the result has the dtype of the queries."""
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    attend = AttentionInterface()["sdpa"]
    output, _ = attend(module, query.float(), key.float(), value.float(), attention_mask, **settings)
    return output.to(query.dtype), None


AttentionInterface.register(FLOAT32_SDPA, sdpa_float32)
AttentionMaskInterface.register(FLOAT32_SDPA, AttentionMaskInterface()["sdpa"])
