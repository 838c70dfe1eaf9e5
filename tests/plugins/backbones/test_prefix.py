from __future__ import annotations

import pytest
import torch
from plugins.backbones.conftest import make_backbone, make_prompt

from msakit.core.pipeline.answers import AnswerTrie
from msakit.plugins.backbones.decoding import common_start

TRIE = AnswerTrie.build([list(b"10"), list(b"11"), list(b"20")])
ANSWERS = [TRIE.answers[index] for index in (0, 1, 2, 0)]


def test_prefixes_are_computed_once(layout):
    backbone, prompt = make_backbone(), make_prompt(layout)
    first = backbone.answer_scores(prompt, TRIE)
    misses = backbone.prefix_cache.num_misses
    assert misses == (1 if layout == "paper" else 4)
    torch.testing.assert_close(backbone.answer_scores(prompt, TRIE), first, atol=1e-6, rtol=0)
    assert backbone.prefix_cache.num_misses == misses
    backbone.prefix_cache.clear()
    assert backbone.prefix_cache.num_bytes == 0
    backbone.answer_scores(prompt, TRIE)
    assert backbone.prefix_cache.num_misses == 2 * misses


def test_the_budget_is_kept_and_changes_no_result(layout):
    free, bound = make_backbone(), make_backbone(prefix_cache_mb=0)
    prompt = make_prompt(layout)
    for _ in range(2):
        torch.testing.assert_close(
            bound.answer_losses(prompt, ANSWERS).mean(),
            free.answer_losses(prompt, ANSWERS).mean(),
            atol=1e-6,
            rtol=0,
        )
    assert bound.prefix_cache.num_bytes == 0
    tokens = {tuple(row) for row in prompt.before}
    one_token = 3 * 2 * 2 * 8 * 4  # layers, key and value, heads, head width, bytes
    one_state = 32 * 4  # the last-layer state after it
    assert free.prefix_cache.num_bytes == sum(map(len, tokens)) * one_token + len(tokens) * one_state


def test_a_small_budget_keeps_what_came_first():
    backbone = make_backbone()
    cache = backbone.prefix_cache
    cache.budget_bytes = 10 * 3 * 2 * 2 * 8 * 4
    cache.get([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    assert cache.num_bytes == 2 * (4 * 3 * 2 * 2 * 8 * 4 + 32 * 4)
    cache.get([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [9, 10, 11, 12]])
    assert (cache.num_hits, cache.num_misses) == (2 + 1, 3 + 1)


def test_training_works_after_an_evaluation_in_inference_mode(layout):
    backbone, prompt = make_backbone(), make_prompt(layout)
    with torch.inference_mode():
        backbone.answer_scores(prompt, TRIE)
    assert backbone.prefix_cache.num_bytes > 0
    assert not any(state.is_inference() for state in backbone.prefix_cache.get(prompt.before).samples)
    prompt.pseudo.requires_grad_()
    backbone.answer_losses(prompt, ANSWERS).mean().backward()
    assert prompt.pseudo.grad.abs().max() > 0


def test_a_batch_of_one_prefix_is_not_copied():
    backbone = make_backbone()
    prefix = backbone.prefix_cache.get([[1, 2, 3]] * 64)
    for states in prefix.layer(0):
        assert states.shape == (64, 2, 3, 8)
        assert states.untyped_storage().nbytes() == 3 * 3 * 2 * 2 * 8 * 4


@pytest.mark.parametrize("layout", ["late"])
def test_lora_caches_nothing(layout):
    backbone, prompt = make_backbone(lora=True), make_prompt(layout)
    backbone.answer_scores(prompt, TRIE)
    assert backbone.prefix_cache.num_bytes == 0


def test_filled_ahead_the_numbers_do_not_depend_on_the_order_of_training():
    prompt = make_prompt("late")
    forward, backward = make_backbone(), make_backbone()
    forward.prepare(prompt.before)
    backward.prepare([[], *reversed(prompt.before)])
    assert forward.prefix_cache.num_bytes > 0
    misses = forward.prefix_cache.num_misses
    kept = [backbone.prefix_cache.get(prompt.before).samples for backbone in (forward, backward)]
    assert all(torch.equal(one, other) for one, other in zip(*kept, strict=True))
    assert forward.prefix_cache.num_misses == misses
    expected = make_backbone().answer_scores(prompt, TRIE)
    torch.testing.assert_close(forward.answer_scores(prompt, TRIE), expected, atol=1e-5, rtol=0)


def test_filling_stops_at_the_budget():
    backbone = make_backbone(prefix_cache_mb=0)
    backbone.prepare([[1, 2, 3]])
    assert backbone.prefix_cache.num_bytes == 0
    tuned = make_backbone(lora=True)
    tuned.prepare([[1, 2, 3]])
    assert tuned.prefix_cache.num_bytes == 0


def test_prompts_that_no_longer_fit_are_not_computed():
    backbone = make_backbone()
    cache, computed, compute = backbone.prefix_cache, [], backbone.prefix_cache._compute
    cache._compute = lambda keys: computed.extend(keys) or compute(keys)
    rows = [(first, *range(1, length)) for length in range(2, 10) for first in (1, 2)]
    a_token, a_row = 3 * 2 * 2 * 8 * 4, 32 * 4
    cache.budget_bytes = sum(len(row) * a_token + a_row for row in rows[:5])
    cache.fill(rows, batch_size=2)
    assert computed == rows[:6]
    assert list(cache._kept) == rows[:5]


@pytest.mark.parametrize("prepared", [False, True])
def test_the_state_after_reading_is_that_of_the_plain_model(prepared):
    backbone, rows = make_backbone(), [[1, 2, 3], [7, 8], [4, 5, 6, 7, 8]]
    if prepared:
        backbone.prepare(rows[1:])
        assert backbone.prefix_cache.num_misses == 0
    expected = torch.stack(
        [backbone.model.model(torch.tensor([row])).last_hidden_state[0, -1] for row in rows]
    )
    torch.testing.assert_close(backbone.read(rows, [[], [], []]), expected, atol=1e-5, rtol=0)
    cut = backbone.read([row[:1] for row in rows], [row[1:] for row in rows])
    torch.testing.assert_close(cut, expected, atol=1e-5, rtol=0)


def test_what_prefixes_begin_with_in_common_is_run_once():
    backbone = make_backbone()
    rows = [(1, 2, 3, 4), (1, 2, 3), (1, 2, 5, 6, 7)]
    decoder, widths = backbone.decoder, []
    run = decoder.run
    decoder.run = lambda embeds, **given: widths.append(tuple(embeds.shape[:2])) or run(embeds, **given)
    together = decoder.compute_prefixes(rows)
    assert widths == [(1, 2), (3, 3)]
    for row, found in zip(rows, together, strict=True):
        [alone] = decoder.compute_prefixes([row])
        torch.testing.assert_close(found.states, alone.states, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.last, alone.last, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("rows", "start"),
    [([(1, 2)], ()), ([(1, 2), (1, 2)], (1,)), ([(1, 2), (3, 2)], ()), ([(1, 2, 3), (1, 2, 4)], (1, 2))],
)
def test_a_common_start_leaves_a_token_of_every_row(rows, start):
    assert common_start(rows) == start
