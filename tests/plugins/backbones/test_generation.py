from __future__ import annotations

import pytest
import torch
from plugins.backbones.conftest import make_backbone, make_prompt, take
from transformers import GenerationConfig

from msakit.core.pipeline.prompt import Prompt


def greedy(backbone, prompt, index, num_tokens):
    """The most probable continuation, one whole forward a token."""
    table = backbone.language_model.get_input_embeddings()
    tokens = []
    for _ in range(num_tokens):
        parts = [table(torch.tensor(prompt.before[index], dtype=torch.long))]
        if prompt.pseudo is not None:
            parts.append(prompt.pseudo[index])
        parts.append(table(torch.tensor([*prompt.after[index], *tokens], dtype=torch.long)))
        tokens.append(
            int(backbone.language_model(inputs_embeds=torch.cat(parts)[None]).logits[0, -1].argmax())
        )
        if tokens[-1] == backbone.end_id:
            return tokens[:-1]
    return tokens


@pytest.mark.parametrize("num_pseudo", [3, None])
@torch.no_grad()
def test_generation_returns_exactly_the_new_tokens(kind, layout, lora, num_pseudo):
    backbone, prompt = make_backbone(kind, lora=lora), make_prompt(layout, num_pseudo=num_pseudo)
    for length in (1, 6):
        expected = [greedy(backbone, prompt, index, length) for index in range(4)]
        assert backbone.generate(prompt, length) == expected
        assert [backbone.generate(take(prompt, [i]), length)[0] for i in range(4)] == expected


@torch.no_grad()
def test_generation_stops_at_the_end_token():
    backbone, prompt = make_backbone(), make_prompt("paper")
    usual = backbone.generate(prompt, 6)
    backbone.codec.end_id = usual[1][2]
    found = backbone.generate(prompt, 6)
    for row, before in zip(found, usual, strict=True):
        stop = before.index(backbone.end_id) if backbone.end_id in before else len(before)
        assert row == before[:stop]


@pytest.mark.parametrize("lora", [False, True])
@torch.no_grad()
def test_text_generation_is_bit_identical_to_the_plain_models(lora):
    backbone, reference = make_backbone(lora=lora), make_backbone().language_model
    ids = torch.tensor([[256, *b"once upon a time"]])
    settings = GenerationConfig(
        max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=258,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    expected = reference.generate(ids, generation_config=settings)
    with backbone.plain():
        found = backbone.language_model.generate(ids, generation_config=settings)
        assert torch.equal(found.sequences, expected.sequences)
        assert all(torch.equal(a, b) for a, b in zip(found.logits, expected.logits, strict=True))
        backbone.codec.end_id = None
        assert backbone.generate(Prompt([ids[0].tolist()], [[]]), 12) == [expected.sequences[0, 17:].tolist()]
    if lora:
        tuned = backbone.language_model(ids).logits
        assert not torch.equal(tuned, reference(ids).logits)
