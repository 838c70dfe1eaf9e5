"""Every architecture the shipped loaders build keeps the rules of backbones, and breaking one is noticed."""

from __future__ import annotations

import pytest
import torch
from plugins.backbones.conftest import make_backbone

from msakit.core.tensors import Sequence
from msakit.testing.backbones import BackboneContract


class TestLlama(BackboneContract):
    kind = "llama"
    lora = False

    def backbone(self):
        return make_backbone(self.kind, lora=self.lora)


class TestLlamaWithLora(TestLlama):
    lora = True


class TestQwen2(TestLlama):
    kind = "qwen2"


class TestQwen2WithLora(TestQwen2):
    lora = True


class TestQwen3(TestLlama):
    kind = "qwen3"


class TestGlm(TestLlama):
    kind = "glm"


class TestGlmWithLora(TestGlm):
    lora = True


def specials_in_text(backbone):
    plain = backbone.tokenize
    backbone.tokenize = lambda text: [*backbone.start_ids(), *plain(text)]


def states_see_the_batch(backbone):
    plain = backbone.encode_text

    def encode_text(rows):
        encoded = plain(rows)
        return Sequence(encoded.values + 1e-3 * len(rows), encoded.lengths)

    backbone.encode_text = encode_text


def states_see_the_future(backbone):
    plain = backbone.encode_text

    def encode_text(rows):
        encoded = plain(rows)
        return Sequence(encoded.values + encoded.lengths[:, None, None], encoded.lengths)

    backbone.encode_text = encode_text


def reading_takes_the_padding(backbone):
    def read(before, after):
        rows = [[*first, *second][1:] for first, second in zip(before, after, strict=True)]
        return backbone.encode_text(rows).values[:, -1]

    backbone.read = read


def scores_are_means(backbone):
    plain = backbone.answer_scores
    lengths = torch.tensor([len("+1.0")] * 4)
    backbone.answer_scores = lambda prompt, trie: plain(prompt, trie) / lengths


def loss_weighs_answers(backbone):
    plain = backbone.answer_losses

    def answer_losses(prompt, answers):
        return plain(prompt, answers) * (1 + 0.1 * (len(prompt) > 1))

    backbone.answer_losses = answer_losses


def head_reads_the_batch(backbone):
    plain = backbone.last_states
    backbone.last_states = lambda prompt: plain(prompt) + 0.1 * len(prompt)


def generation_rambles(backbone):
    plain = backbone.generate
    backbone.generate = lambda prompt, count: plain(prompt, 2 * count)


MISTAKES = {
    specials_in_text: "test_text_survives_its_tokens",
    states_see_the_batch: "test_streams_of_text_do_not_depend_on_the_batch",
    states_see_the_future: "test_states_of_a_stream_do_not_see_what_follows",
    reading_takes_the_padding: "test_reading_gives_the_last_state",
    scores_are_means: "test_scores_are_log_probabilities_of_the_answers",
    loss_weighs_answers: "test_losses_are_those_of_each_answer_token",
    head_reads_the_batch: "test_last_states_are_each_prompts_own",
    generation_rambles: "test_generation_is_greedy_and_bounded",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_contract_notices(mistake):
    class Mistaken(BackboneContract):
        def backbone(self):
            backbone = make_backbone()
            mistake(backbone)
            return backbone

    with pytest.raises(AssertionError):
        getattr(Mistaken(), MISTAKES[mistake])()
