from __future__ import annotations

import re

import pytest

from msakit.core.errors import InputError
from msakit.core.pipeline.prompt import PromptBuilder, PromptTemplate, Turn, answer_tokens

TASK = "Rate it. The sentiment is"


class Letters:
    """One token a character."""

    def __init__(self) -> None:
        self.calls = 0

    def tokenize(self, text):
        self.calls += 1
        return [ord(letter) for letter in text]

    def start_ids(self):
        return [1, 2]


def read(ids):
    return "".join(chr(token) if token > 9 else f"[{token}]" for token in ids)


def test_the_paper_layout_puts_the_text_after_the_pseudo_tokens():
    ids = PromptBuilder(PromptTemplate(TASK), Letters()).build(["fine", None])
    assert [read(row) for row in ids.before] == ["[1][2]<Multimodal>"] * 2
    assert [read(row) for row in ids.after] == [f"fine</Multimodal>{TASK}", f"</Multimodal>{TASK}"]
    assert [read(row) for row in ids.text] == ["fine", ""]


def test_the_late_layout_puts_everything_before_them():
    ids = PromptBuilder(PromptTemplate(TASK, layout="late"), Letters()).build(["fine", None])
    assert read(ids.before[0]) == f"[1][2]<Multimodal>fine</Multimodal>{TASK}"
    assert read(ids.before[1]) == f"[1][2]<Multimodal></Multimodal>{TASK}"
    assert ids.after == [[], []]


def test_the_lead_in_moves_behind_the_pseudo_tokens_in_the_late_layout_only():
    late = PromptTemplate(TASK, layout="late", lead_in=" The sentiment is")
    ids = PromptBuilder(late, Letters()).build(["fine"])
    assert read(ids.before[0]).endswith("</Multimodal>Rate it.")
    assert read(ids.after[0]) == " The sentiment is"
    paper = PromptTemplate(TASK, lead_in=" The sentiment is")
    assert read(PromptBuilder(paper, Letters()).build(["fine"]).after[0]).endswith(TASK)
    with pytest.raises(InputError, match="lead-in"):
        PromptTemplate(TASK, lead_in="Answer:")


def test_the_language_chooses_the_tags():
    chinese = PromptTemplate.for_language("zh", "情感为", layout="late")
    assert (chinese.open_tag, chinese.close_tag) == ("<多模态>", "</多模态>")
    assert PromptTemplate.for_language("de", TASK).open_tag == "<Multimodal>"


@pytest.mark.parametrize("layout", ["paper", "late"])
def test_pieces_spell_out_the_layout_of_a_prompt(layout):
    builder = PromptBuilder(PromptTemplate(TASK, layout=layout), Letters())
    pieces = builder.pieces("fine")
    ids = builder.build(["fine"])
    assert [token for piece in pieces for token in piece.token_ids] == [*ids.before[0], *ids.after[0]]
    assert sum(piece.role == "pseudo" for piece in pieces) == 1
    assert all(read(piece.token_ids) == piece.text for piece in pieces if piece.text)


def test_long_text_is_cut_at_its_end_and_counted_once():
    builder = PromptBuilder(PromptTemplate(TASK), Letters(), max_text_tokens=4)
    for _ in range(3):
        ids = builder.build(["a fine film", "fine", None])
    assert [read(row) for row in ids.text] == ["a fi", "fine", ""]
    assert "a fi</Multimodal>" in read(ids.after[0])
    assert (builder.num_texts, builder.num_truncated, builder.truncation_rate) == (2, 1, 0.5)
    with pytest.raises(InputError, match="max_text_tokens"):
        PromptBuilder(PromptTemplate(TASK), Letters(), max_text_tokens=0)


def test_context_stands_before_the_utterance_with_its_speakers():
    builder = PromptBuilder(PromptTemplate(TASK), Letters())
    turns = [Turn("hi", "Ross"), Turn("what")]
    ids = builder.build(["fine", "fine"], contexts=[turns, []], speakers=["Joey", "Joey"])
    assert read(ids.after[0]).startswith("Ross: hi\nwhat\nJoey: fine</Multimodal>")
    assert read(ids.after[1]).startswith("fine</Multimodal>")
    assert read(ids.text[0]) == "fine"


def test_a_tight_limit_drops_the_oldest_context_first():
    turns = [Turn("aaaa"), Turn("bb"), Turn("cc")]
    ids = PromptBuilder(PromptTemplate(TASK), Letters(), max_text_tokens=10).build(["fine"], contexts=[turns])
    assert read(ids.after[0]).startswith("bb\ncc\nfine</Multimodal>")
    ids = PromptBuilder(PromptTemplate(TASK), Letters(), max_text_tokens=3).build(["fine"], contexts=[turns])
    assert read(ids.after[0]).startswith("fin</Multimodal>")


def test_every_distinct_piece_is_tokenised_once():
    letters = Letters()
    builder = PromptBuilder(PromptTemplate(TASK), letters)
    for _ in range(5):
        builder.build(["fine", "fine", "other"])
    assert letters.calls == 5  # two tags, the task, two texts


def test_pseudo_tokens_complete_a_prompt():
    ids = PromptBuilder(PromptTemplate(TASK), Letters()).build(["fine", "other"])
    assert len(ids.with_pseudo(None)) == 2
    assert ids.with_pseudo(None).before == ids.before


class Words:
    """A tokenizer of words with the space before them, as byte-level BPE cuts text; ids by first use."""

    def __init__(self):
        self.ids = {}

    def tokenize(self, text):
        return [self.ids.setdefault(piece, len(self.ids)) for piece in re.findall(r" ?[^ ]+| +", text)]

    def start_ids(self):
        return []


class Pieces(Words):
    """One that puts a space before every text, as SentencePiece does."""

    def tokenize(self, text):
        return super().tokenize(" " + text)


@pytest.mark.parametrize("tokenizer", [Words(), Pieces()])
def test_a_natural_answer_has_the_tokens_that_running_text_has(tokenizer):
    rows = answer_tokens(["joy", "anger"], "The emotion is", tokenizer, "natural")
    assert rows == [[tokenizer.ids[" joy"]], [tokenizer.ids[" anger"]]]


def test_a_bare_answer_is_tokenised_alone():
    tokenizer = Words()
    assert answer_tokens(["joy"], "The emotion is", tokenizer, "bare") == [tokenizer.tokenize("joy")]


@pytest.mark.parametrize("prompt", ["情绪为", "The emotion is ", ""])
def test_no_space_is_added_where_none_is_written(prompt):
    tokenizer = Words()
    tokens = answer_tokens(["joy"], prompt, tokenizer, "natural")
    assert tokens == [tokenizer.tokenize("joy")]


def test_a_token_across_prompt_and_answer_is_not_torn():
    class Merging(Words):
        def tokenize(self, text):
            return super().tokenize(text.replace("is +", "is+"))

    tokenizer = Merging()
    assert answer_tokens(["+1"], "score is", tokenizer, "natural") == [tokenizer.tokenize(" +1")]
