from __future__ import annotations

import peft
import pytest
import torch
from plugins.backbones.conftest import make_backbone, make_prompt, make_spec

from msakit.core.errors import InputError
from msakit.core.pipeline.answers import AnswerTrie
from msakit.plugins.backbones.config import CausalLMConfig, LoraConfig
from msakit.plugins.backbones.loading import load, meta
from msakit.plugins.backbones.lora import load_lora

TRIE = AnswerTrie.build([list(b"10"), list(b"11"), list(b"20")])
IDS = torch.tensor([[256, *b"some text"]])


def scores(backbone, layout="paper"):
    return backbone.answer_scores(make_prompt(layout), TRIE)


def test_fresh_updates_change_nothing():
    fresh = load(make_spec(), CausalLMConfig(adaptation="lora", device="cpu"))
    assert torch.equal(fresh.language_model(IDS).logits, make_backbone().language_model(IDS).logits)


def test_what_is_saved_loads_with_peft_alone(tmp_path):
    tuned = make_backbone(lora=True)
    tuned.save_adaptation(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    other = peft.PeftModel.from_pretrained(make_backbone().language_model, tmp_path)
    with torch.no_grad():
        assert torch.equal(other(IDS).logits, tuned.language_model(IDS).logits)


def test_updates_round_trip(tmp_path):
    tuned = make_backbone(lora=True)
    tuned.save_adaptation(tmp_path)
    fresh = load(make_spec(), CausalLMConfig(adaptation="lora", lora=LoraConfig(rank=4), device="cpu"))
    assert not torch.allclose(scores(fresh), scores(tuned), atol=1e-3)
    fresh.load_adaptation(tmp_path)
    assert torch.equal(scores(fresh), scores(tuned))


def test_a_frozen_backbone_saves_and_loads_nothing(tmp_path):
    frozen = make_backbone()
    frozen.save_adaptation(tmp_path)
    frozen.load_adaptation(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", [{"rank": 2}, {"rank": 4, "targets": ("q_proj",)}])
def test_updates_that_do_not_fit_are_refused(tmp_path, settings):
    make_backbone(lora=True).save_adaptation(tmp_path)
    other = load(make_spec(), CausalLMConfig(adaptation="lora", lora=LoraConfig(**settings), device="cpu"))
    with pytest.raises(InputError, match="does not fit"):
        load_lora(other.model, tmp_path)
    with pytest.raises(InputError, match=r"adapter_config\.json"):
        load_lora(other.model, tmp_path / "nowhere")


def test_switched_off_it_is_the_plain_model(layout):
    tuned, frozen = make_backbone(lora=True), make_backbone()
    with tuned.plain():
        torch.testing.assert_close(scores(tuned, layout), scores(frozen, layout), atol=1e-5, rtol=0)
        assert torch.equal(tuned.language_model(IDS).logits, frozen.language_model(IDS).logits)
    assert not torch.allclose(scores(tuned, layout), scores(frozen, layout), atol=1e-3)


@pytest.mark.parametrize("targets", ["attention", "linear", ("q_proj", "v_proj")])
def test_trainable_parameters_are_counted_without_weights(kind, targets):
    config = CausalLMConfig(adaptation="lora", lora=LoraConfig(rank=5, targets=targets), device="cpu")
    backbone = load(make_spec(kind), config)
    real = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    total = sum(p.numel() for p in backbone.parameters())
    facts = meta(make_spec(kind), config)
    assert facts.num_trainable == real > 0
    assert facts.num_parameters == total - real


def test_unknown_targets_are_named():
    config = CausalLMConfig(adaptation="lora", lora=LoraConfig(targets=("query_key_value",)), device="cpu")
    with pytest.raises(InputError, match="query_key_value") as raised:
        load(make_spec(), config)
    assert "q_proj" in raised.value.hint
    with pytest.raises(InputError, match="query_key_value"):
        meta(make_spec(), config)


def test_dropout_acts_in_training_only():
    config = CausalLMConfig(adaptation="lora", lora=LoraConfig(rank=4, dropout=0.5), device="cpu")
    backbone = load(make_spec(), config)
    for name, parameter in backbone.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    prompt, answers = make_prompt("paper"), [TRIE.answers[0]] * 4
    losses = [backbone.eval().answer_losses(prompt, answers).mean().item() for _ in range(2)]
    assert losses[0] == losses[1]
    torch.manual_seed(0)
    noisy = [backbone.train().answer_losses(prompt, answers).mean().item() for _ in range(2)]
    assert noisy[0] != noisy[1]
