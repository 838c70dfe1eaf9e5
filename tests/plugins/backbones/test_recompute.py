"""Gradient checkpointing: the same numbers from a fraction of the memory."""

from __future__ import annotations

import pytest
import torch

from tests.plugins.backbones.conftest import make_backbone, make_prompt

ANSWERS = [[5, 6], [7], [8, 9, 10], [11]]


def step(layout, *, lora, recomputed):
    """Loss, gradients, and bytes kept for the backward pass, of one training step."""
    torch.manual_seed(0)
    backbone = make_backbone(lora=lora, gradient_checkpointing=recomputed).train()
    prompt = make_prompt(layout)
    prompt.pseudo.requires_grad_()
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = backbone.answer_losses(prompt, ANSWERS).mean()
    loss.backward()
    gradients = {name: p.grad for name, p in backbone.named_parameters() if p.grad is not None}
    gradients["pseudo"] = prompt.pseudo.grad
    return loss.detach(), gradients, sum(size for place, size in kept.items() if place not in weights)


def test_the_step_is_the_same_and_keeps_less(layout, lora):
    loss, gradients, kept = step(layout, lora=lora, recomputed=False)
    again, other_gradients, kept_less = step(layout, lora=lora, recomputed=True)
    assert loss == again
    assert gradients.keys() == other_gradients.keys()
    assert len(gradients) > (1 if lora else 0)
    for name, gradient in gradients.items():
        assert torch.allclose(other_gradients[name], gradient, rtol=0, atol=1e-7), name
    assert kept_less < 0.7 * kept


def test_scores_are_the_same(layout):
    from msakit.core.pipeline.answers import AnswerTrie

    trie = AnswerTrie.build(ANSWERS)
    scores = [
        make_backbone(gradient_checkpointing=flag).answer_scores(make_prompt(layout), trie)
        for flag in (False, True)
    ]
    assert torch.equal(*scores)


def test_a_model_without_layers_is_refused():
    from msakit.core.errors import InputError
    from msakit.plugins.backbones.recompute import recompute_layers

    model = make_backbone().language_model
    del model.get_decoder().layers
    with pytest.raises(InputError, match="cannot be trained with gradient checkpointing"):
        recompute_layers(model)
