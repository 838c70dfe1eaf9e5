"""The rules of backbones as a test class to inherit: subclass it, return a backbone, and pytest runs them."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from msakit.core.pipeline.answers import AnswerTrie
from msakit.core.pipeline.prompt import Prompt
from msakit.testing.comparison import assert_close

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq
    from pathlib import Path

    from torch import Tensor

    from msakit.core.interfaces import Backbone


class BackboneContract(ABC):
    """Rules of backbones, checked on a small one.

    Attributes:
        texts: What it is tested with, of different lengths.
        answers: Answers to score, of which some share their first tokens.
        num_pseudo: Pseudo tokens in a prompt (K).
        tolerance: How far two float32 computations of the same thing may differ.
    """

    texts: ClassVar[tuple[str, ...]] = ("good", "a rather long sentence, really", "so so")
    answers: ClassVar[tuple[str, ...]] = ("+1.0", "+1.1", "-0.5", "-1.0")
    num_pseudo = 3
    tolerance = 1e-4

    @abstractmethod
    def backbone(self) -> Backbone:
        """The same backbone, on the CPU in float32, at every call."""

    def prompt(self, backbone: Backbone, layout: str, rows: Seq[int] = (0, 1, 2)) -> Prompt:
        """Prompts with the text behind the pseudo tokens ("paper") or before them ("late")."""
        generator = torch.Generator().manual_seed(1)
        pseudo = torch.randn(len(self.texts), self.num_pseudo, backbone.hidden_size, generator=generator)
        start, asked = backbone.start_ids(), backbone.tokenize(" It is")
        texts = [backbone.tokenize(self.texts[row]) for row in rows]
        if layout == "paper":
            before, after = [start for _ in rows], [[*text, *asked] for text in texts]
        else:
            before, after = [[*start, *text, *asked] for text in texts], [[] for _ in rows]
        return Prompt(before, after, pseudo[list(rows)])

    def trie(self, backbone: Backbone) -> AnswerTrie:
        """The answers as the backbone's tokens."""
        rows = [backbone.tokenize(answer) for answer in self.answers]
        return AnswerTrie.build(rows, end_id=backbone.end_id)

    def test_text_survives_its_tokens(self) -> None:
        """Tokens carry the text, and no special token sneaks in."""
        backbone = self.backbone()
        for text in (*self.texts, *self.answers):
            token_ids = backbone.tokenize(text)
            assert token_ids, text
            assert backbone.detokenize(token_ids).strip() == text
            start = backbone.start_ids()
            assert not start or token_ids[: len(start)] != start

    def test_streams_of_text_do_not_depend_on_the_batch(self) -> None:
        """Embeddings and states [B, L, H], float32: as wide as it says, the same alone and in company."""
        backbone = self.backbone()
        rows = [backbone.tokenize(text) for text in self.texts]
        for compute in (backbone.embed, backbone.encode_text):
            together = compute(rows)
            assert together.values.dtype == torch.float32
            assert together.values.shape == (len(rows), max(map(len, rows)), backbone.hidden_size)
            assert together.lengths.tolist() == [len(row) for row in rows]
            assert not together.values.requires_grad
            for index, row in enumerate(rows):
                alone = compute([row]).values[0]
                self.assert_same(compute.__name__, together.values[index, : len(row)], alone)

    def test_states_of_a_stream_do_not_see_what_follows(self) -> None:
        """A causal model: the states of a text's beginning are those of the beginning alone."""
        backbone = self.backbone()
        row = backbone.tokenize(max(self.texts, key=len))
        whole, part = backbone.encode_text([row]).values[0], backbone.encode_text([row[:-1]]).values[0]
        self.assert_same("encode_text", whole[:-1], part)

    def test_reading_gives_the_last_state(self) -> None:
        """Of each prompt, wherever it is cut and whatever the others are; prepared prompts the same."""
        backbone = self.backbone()
        rows = self.prompt(backbone, "late").before
        nothing: list[list[int]] = [[] for _ in rows]
        expected = torch.cat([backbone.read([row], [[]]) for row in rows])
        assert expected.shape == (len(rows), backbone.hidden_size)
        self.assert_same("read", backbone.read(rows, nothing), expected)
        first, last = [row[:-1] for row in rows], [row[-1:] for row in rows]
        self.assert_same("read, cut", backbone.read(first, last), expected)
        backbone.prepare([*rows, *first])
        self.assert_same("read, prepared", backbone.read(rows, nothing), expected)
        self.assert_same("read, cut and prepared", backbone.read(first, last), expected)

    def test_scores_are_log_probabilities_of_the_answers(self) -> None:
        """[B, A], float32: the sum over each answer's tokens of what the losses are."""
        backbone = self.backbone()
        trie = self.trie(backbone)
        for layout, row in itertools.product(("paper", "late"), range(len(self.texts))):
            prompt = self.prompt(backbone, layout, [row])
            scores = backbone.answer_scores(prompt, trie)
            assert scores.shape == (1, len(trie))
            assert scores.dtype == torch.float32
            losses = [backbone.answer_losses(prompt, [answer]).sum().item() for answer in trie.answers]
            self.assert_same("answer_scores", -scores[0], torch.tensor(losses))

    def test_scores_do_not_depend_on_the_batch(self) -> None:
        """Nor on whether the prompts were prepared."""
        for layout in ("paper", "late"):
            backbone = self.backbone()
            trie = self.trie(backbone)
            alone = [
                backbone.answer_scores(self.prompt(backbone, layout, [row]), trie)
                for row in range(len(self.texts))
            ]
            prompt = self.prompt(backbone, layout)
            self.assert_same(layout, backbone.answer_scores(prompt, trie), torch.cat(alone))
            backbone.prepare(prompt.before)
            self.assert_same(layout, backbone.answer_scores(prompt, trie), torch.cat(alone))

    def test_losses_are_those_of_each_answer_token(self) -> None:
        """[N], whatever the other samples are; the gradient is finite and reaches every pseudo token."""
        backbone = self.backbone()
        answers = [self.trie(backbone).answers[index] for index in (0, 2, 3)]
        for layout in ("paper", "late"):
            prompt = self.prompt(backbone, layout)
            assert prompt.pseudo is not None
            pseudo = prompt.pseudo.requires_grad_()
            losses = backbone.answer_losses(prompt, answers)
            assert losses.shape == (sum(map(len, answers)),)
            self._assert_gradient(losses.mean(), pseudo)
            alone = [
                backbone.answer_losses(self.prompt(backbone, layout, [row]), [answer])
                for row, answer in enumerate(answers)
            ]
            self.assert_same(layout, losses.detach(), torch.cat(alone).detach())

    def test_last_states_are_each_prompts_own(self) -> None:
        """[B, H] float32; the gradient reaches every pseudo token.

        Without pseudo tokens an untuned backbone gives what `read` gives, which leaves LoRA out.
        """
        backbone = self.backbone()
        for layout in ("paper", "late"):
            prompt = self.prompt(backbone, layout)
            assert prompt.pseudo is not None
            pseudo = prompt.pseudo.requires_grad_()
            states = backbone.last_states(prompt)
            assert states.shape == (len(self.texts), backbone.hidden_size)
            assert states.dtype == torch.float32
            self._assert_gradient(states.square().mean(), pseudo)
            rows = range(len(self.texts))
            alone = [backbone.last_states(self.prompt(backbone, layout, [row])) for row in rows]
            self.assert_same(layout, states.detach(), torch.cat(alone).detach())
            if not _is_tuned(backbone):
                plain = replace(prompt, pseudo=None)
                read = backbone.read(prompt.before, prompt.after)
                self.assert_same(layout, backbone.last_states(plain).detach(), read)

    def _assert_gradient(self, loss: Tensor, pseudo: Tensor) -> None:
        torch.autograd.backward(loss)
        assert pseudo.grad is not None
        assert pseudo.grad.isfinite().all()
        assert (pseudo.grad.abs().amax(dim=-1) > 0).all()

    def test_generation_is_greedy_and_bounded(self) -> None:
        """New tokens only, the same at every call and in every batch; the first is the likeliest."""
        backbone = self.backbone()
        prompt = self.prompt(backbone, "paper")
        generated = backbone.generate(prompt, 4)
        assert generated == backbone.generate(prompt, 4)
        for row, tokens in enumerate(generated):
            alone = self.prompt(backbone, "paper", [row])
            assert [tokens] == backbone.generate(alone, 4)
            assert len(tokens) <= 4
            if tokens:
                others = {(tokens[0],), *((answer[0],) for answer in self.trie(backbone).answers)}
                scores = backbone.answer_scores(alone, AnswerTrie.build(sorted(others)))[0]
                assert sorted(others)[int(scores.argmax())] == (tokens[0],)

    def test_what_was_adapted_is_saved(self, tmp_path: Path) -> None:
        """Loading what was saved gives the same scores; a frozen backbone may save nothing."""
        backbone = self.backbone()
        trie, prompt = self.trie(backbone), self.prompt(backbone, "paper")
        backbone.save_adaptation(tmp_path)
        other = self.backbone()
        other.load_adaptation(tmp_path)
        self.assert_same("scores", other.answer_scores(prompt, trie), backbone.answer_scores(prompt, trie))

    def assert_same(self, name: str, actual: Tensor, expected: Tensor) -> None:
        """Equal within the tolerance."""
        assert_close(name, actual, expected, tolerance=self.tolerance)


def _is_tuned(backbone: Backbone) -> bool:
    return isinstance(backbone, nn.Module) and any(p.requires_grad for p in backbone.parameters())
