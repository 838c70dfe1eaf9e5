from __future__ import annotations

import pytest

from msakit.core.registry.registry import load_registry
from msakit.plugins.backbones.config import CausalLMConfig, LoraConfig
from msakit.plugins.backbones.loading import meta

SPECS = {spec.name: spec for spec in load_registry(discover=False).backbones()}

# What the models' publishers state, in parameters; tied tables count once.
PUBLISHED = {
    "tiny": 26_912,
    "smollm2-135m": 134_515_008,
    "qwen-1.8b": 1_836_828_672,
    "chatglm3-6b": 6_243_584_000,
    "llama2-7b": 6_738_415_616,
    "llama3-8b": 8_030_261_248,
    "glm4-9b": 9_399_951_360,
    "qwen1.5-1.8b": 1_836_828_672,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-8b": 8_190_735_360,
}


def test_every_shipped_backbone_is_checked():
    assert SPECS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_architecture_has_the_published_size(name):
    facts = meta(SPECS[name], CausalLMConfig())
    assert facts.num_parameters == PUBLISHED[name]
    assert facts.num_trainable == 0
    assert facts.weight_bytes == 4 * PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "targets", "trainable"),
    [("llama2-7b", ("q_proj", "v_proj"), 4_194_304), ("llama2-7b", "attention", 8_388_608)],
)
def test_lora_has_the_papers_size(name, targets, trainable):
    config = CausalLMConfig(adaptation="lora", lora=LoraConfig(rank=8, targets=targets))
    assert meta(SPECS[name], config).num_trainable == trainable


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_entry_says_where_it_comes_from_and_how_prompts_start(name):
    spec = SPECS[name]
    assert spec.licence
    assert spec.languages
    assert spec.summary
    assert spec.weights["source"] in {"random", "hub", "package"}
    assert spec.prompt["start"]
    assert spec.prompt["sign"] in {"plus", "plain"}
