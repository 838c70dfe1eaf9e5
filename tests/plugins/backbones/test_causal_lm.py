from __future__ import annotations

import pytest
import torch
from plugins.backbones.conftest import make_backbone, make_prompt, plain_log_probs, take

from msakit.core.errors import InputError
from msakit.core.interfaces import Backbone
from msakit.core.pipeline.answers import AnswerSet, AnswerTrie
from msakit.core.pipeline.prompt import Prompt

ANSWERS = [list(text.encode()) for text in ("+1.2", "-0.6", "0", "+2.0")]
SCORES = AnswerSet.regression(-1, 1)


def trie_for(backbone, texts):
    return AnswerTrie.build([backbone.tokenize(text) for text in texts], end_id=backbone.end_id)


def test_it_is_a_backbone():
    assert isinstance(make_backbone(), Backbone)


def test_the_loss_is_the_plain_models_on_answer_tokens(kind, layout, lora):
    backbone, prompt = make_backbone(kind, lora=lora), make_prompt(layout)
    loss = backbone.answer_losses(prompt, ANSWERS).mean()
    tokens = [plain_log_probs(backbone, prompt, i, answer) for i, answer in enumerate(ANSWERS)]
    torch.testing.assert_close(loss, -torch.cat(tokens).mean(), atol=1e-5, rtol=0)


def test_the_gradient_of_pseudo_tokens_is_the_plain_models(kind, layout, lora):
    backbone, prompt = make_backbone(kind, lora=lora), make_prompt(layout)
    prompt.pseudo.requires_grad_()
    backbone.answer_losses(prompt, ANSWERS).mean().backward()
    found = prompt.pseudo.grad.clone()
    prompt.pseudo.grad = None
    tokens = [plain_log_probs(backbone, prompt, i, answer) for i, answer in enumerate(ANSWERS)]
    (-torch.cat(tokens).mean()).backward()
    assert found.abs().max() > 1e-4
    torch.testing.assert_close(found, prompt.pseudo.grad, atol=1e-5, rtol=1e-4)


def test_every_answers_score_is_its_own_log_probability(kind, layout, lora):
    backbone, prompt = make_backbone(kind, lora=lora), make_prompt(layout)
    trie = trie_for(backbone, SCORES.texts)
    scores = backbone.answer_scores(prompt, trie)
    with torch.no_grad():
        alone = torch.stack(
            [
                torch.stack([plain_log_probs(backbone, prompt, i, answer).sum() for answer in trie.answers])
                for i in range(len(prompt))
            ]
        )
    assert scores.shape == (4, 21)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "texts", [AnswerSet.regression(-3, 3).texts, ["0", "1", "2"], ["1", "10", "joy", "joyful"], ["x"]]
)
def test_answers_of_any_shape_are_scored(texts, layout):
    backbone, prompt = make_backbone(), make_prompt(layout)
    trie = trie_for(backbone, texts)
    scores = backbone.answer_scores(prompt, trie)
    with torch.no_grad():
        alone = [[plain_log_probs(backbone, prompt, i, a).sum() for a in trie.answers] for i in range(4)]
    torch.testing.assert_close(scores, torch.tensor(alone), atol=1e-4, rtol=0)


def test_logits_in_chunks_are_the_same(monkeypatch):
    backbone, prompt = make_backbone(), make_prompt("paper")
    trie = trie_for(backbone, SCORES.texts)
    whole = backbone.answer_scores(prompt, trie)
    monkeypatch.setattr("msakit.plugins.backbones.causal_lm._LOGIT_CHUNK_BYTES", 1)
    torch.testing.assert_close(backbone.answer_scores(prompt, trie), whole, atol=1e-5, rtol=0)


def test_a_samples_result_does_not_depend_on_its_neighbours(kind, layout, lora):
    backbone, prompt = make_backbone(kind, lora=lora), make_prompt(layout)
    trie = trie_for(backbone, SCORES.texts)
    together = backbone.answer_scores(prompt, trie)
    for order in ([3, 1, 0, 2], [1], [2], [0, 2]):
        backbone.prefix_cache.clear()
        torch.testing.assert_close(
            backbone.answer_scores(take(prompt, order), trie), together[order], atol=1e-5, rtol=0
        )
    losses = [backbone.answer_losses(take(prompt, [i]), [answer]).mean() for i, answer in enumerate(ANSWERS)]
    sizes = torch.tensor([float(len(answer)) for answer in ANSWERS])
    expected = (torch.stack(losses) * sizes).sum() / sizes.sum()
    torch.testing.assert_close(backbone.answer_losses(prompt, ANSWERS).mean(), expected, atol=1e-5, rtol=0)


def test_text_alone_works_without_pseudo_tokens(layout, lora):
    backbone, prompt = make_backbone(lora=lora), make_prompt(layout, num_pseudo=None)
    trie = trie_for(backbone, SCORES.texts)
    scores = backbone.answer_scores(prompt, trie)
    with torch.no_grad():
        alone = [plain_log_probs(backbone, prompt, i, trie.answers[7]).sum() for i in range(4)]
        tokens = [plain_log_probs(backbone, prompt, i, answer) for i, answer in enumerate(ANSWERS)]
        loss = backbone.answer_losses(prompt, ANSWERS).mean()
    torch.testing.assert_close(scores[:, 7], torch.stack(alone), atol=1e-4, rtol=0)
    torch.testing.assert_close(loss, -torch.cat(tokens).mean(), atol=1e-5, rtol=0)


def test_the_shortest_prompts_work(lora):
    backbone = make_backbone(lora=lora)
    trie = trie_for(backbone, ["0", "1"])
    start_only = backbone.answer_scores(Prompt([[256]], [[]]), trie)
    pseudo_only = backbone.answer_scores(Prompt([[]], [[]], torch.randn(1, 1, 32)), trie)
    assert torch.isfinite(start_only).all()
    assert torch.isfinite(pseudo_only).all()
    with pytest.raises(InputError, match="empty"):
        backbone.answer_scores(Prompt([[]], [[]]), trie)


def test_only_pseudo_tokens_and_lora_get_gradients(lora):
    backbone, prompt = make_backbone(lora=lora), make_prompt("paper")
    prompt.pseudo.requires_grad_()
    backbone.train()
    backbone.answer_losses(prompt, ANSWERS).mean().backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    expected = {name for name, _ in backbone.named_parameters() if "lora_" in name}
    assert trained == expected == {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert bool(expected) == lora
    assert prompt.pseudo.grad.abs().sum(dim=(1, 2)).min() > 0


def test_bfloat16_agrees_with_float32(layout, lora):
    torch.manual_seed(0)
    exact = make_backbone(lora=lora)
    torch.manual_seed(0)
    rough = make_backbone(lora=lora, dtype="bfloat16")
    assert rough.dtype == torch.bfloat16
    prompt = make_prompt(layout)
    trie = trie_for(exact, ["0", "1", "2"])
    scores = rough.answer_scores(prompt, trie)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact.answer_scores(prompt, trie), atol=0.5, rtol=0)
    prompt.pseudo.requires_grad_()
    loss = rough.answer_losses(prompt, ANSWERS).mean()
    loss.backward()
    assert loss.dtype == prompt.pseudo.grad.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in rough.parameters() if p.requires_grad)


def test_embeddings_are_the_models_word_embeddings():
    backbone = make_backbone()
    found = backbone.embed([[1, 2, 3], [], [4]])
    table = backbone.language_model.get_input_embeddings().weight
    assert found.lengths.tolist() == [3, 0, 1]
    assert torch.equal(found.values[0], table[[1, 2, 3]])
    assert torch.equal(found.values[2, :1], table[[4]])
    assert not found.values.requires_grad
    assert backbone.embed([[], []]).values.shape == (2, 0, 32)


def test_text_states_are_the_plain_models_whatever_lora_does(lora):
    backbone = make_backbone(lora=lora)
    reference = make_backbone().language_model
    rows = [[1, 2, 3, 4], [], [7, 8]]
    found = backbone.encode_text(rows)
    assert found.values.shape == (3, 4, 32)
    assert found.lengths.tolist() == [4, 0, 2]
    for index, row in enumerate(rows):
        with torch.no_grad():
            states = reference.model(torch.tensor([[256, *row]])).last_hidden_state[0, 1:]
        torch.testing.assert_close(found.values[index, : len(row)], states, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_backbone():
    torch.manual_seed(1)
    first = make_backbone().state_dict()
    torch.manual_seed(2)
    second = make_backbone().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    make_backbone()
    assert torch.equal(torch.rand(3), expected), "building a backbone must not disturb the caller's seed"


def test_a_frozen_backbone_stays_in_evaluation_mode():
    assert not make_backbone().train().training
    assert make_backbone(lora=True).train().training
