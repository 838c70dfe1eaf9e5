from __future__ import annotations

import pytest
import torch

from msakit.core.pipeline.prompt import Prompt
from msakit.core.registry.specs import BackboneSpec
from msakit.plugins.backbones.config import CausalLMConfig, LoraConfig
from msakit.plugins.backbones.loading import load

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 260,
    "initializer_range": 0.3,  # large, so that wrong masks and positions show
    "pad_token_id": 258,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
ARCHITECTURES = {
    "llama": {**SMALL, "model_type": "llama", "tie_word_embeddings": True},
    "qwen2": {**SMALL, "model_type": "qwen2", "tie_word_embeddings": False},
    "qwen3": {**SMALL, "model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True},
    "glm": {**SMALL, "model_type": "glm", "head_dim": 8, "tie_word_embeddings": False},
}


def make_spec(kind: str = "llama", seed: int = 0) -> BackboneSpec:
    return BackboneSpec(
        kind, {"source": "random", "seed": seed}, ARCHITECTURES[kind], prompt={"start": ["bos"]}
    )


def make_backbone(kind: str = "llama", *, lora: bool = False, **settings):
    """A small random backbone; LoRA's updates, which start at zero, are made non-zero."""
    settings = {"device": "cpu", "adaptation": "lora" if lora else "frozen", **settings}
    if lora:
        settings.setdefault("lora", LoraConfig(rank=4))
    backbone = load(make_spec(kind), CausalLMConfig(**settings))
    if lora:
        generator = torch.Generator().manual_seed(1)
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return backbone


def make_prompt(layout: str, *, num_pseudo: int | None = 3, seed: int = 0) -> Prompt:
    """Four samples of different lengths, one of them without text."""
    texts = [b"good", b"a rather long sentence, really", b"", b"so so"]
    start, task = [256, *b"<M>"], list(b"</M> It is")
    if layout == "paper":
        before, after = [start] * 4, [[*text, *task] for text in texts]
    else:
        before, after = [[*start, *text, *task] for text in texts], [[]] * 4
    pseudo = None
    if num_pseudo is not None:
        pseudo = torch.randn(4, num_pseudo, 32, generator=torch.Generator().manual_seed(seed))
    return Prompt(before, after, pseudo)


def take(prompt: Prompt, indices) -> Prompt:
    pseudo = None if prompt.pseudo is None else prompt.pseudo[list(indices)]
    return Prompt([prompt.before[i] for i in indices], [prompt.after[i] for i in indices], pseudo)


def plain_log_probs(backbone, prompt: Prompt, index: int, answer) -> torch.Tensor:
    """log p of an answer's tokens, from the whole model run on one unpadded sequence."""
    table = backbone.language_model.get_input_embeddings()
    parts = [table(torch.tensor(prompt.before[index], dtype=torch.long))]
    if prompt.pseudo is not None:
        parts.append(prompt.pseudo[index])
    parts.append(table(torch.tensor([*prompt.after[index], *answer], dtype=torch.long)))
    logits = backbone.language_model(inputs_embeds=torch.cat(parts)[None]).logits[0].log_softmax(-1)
    start = logits.shape[0] - len(answer) - 1
    return logits[torch.arange(start, start + len(answer)), torch.tensor(answer)]


@pytest.fixture(params=sorted(ARCHITECTURES))
def kind(request):
    return request.param


@pytest.fixture(params=["paper", "late"])
def layout(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["frozen", "lora"])
def lora(request):
    return request.param
