"""The prompt of a batch: token ids around a slot of pseudo tokens.

Paper layout (MSE-Adapter): `[start] <Multimodal> P1..PK text </Multimodal> task-prompt`, with the
text after the pseudo tokens. `late` puts the pseudo tokens last, so that all before them is frozen:
`[start] <Multimodal> text </Multimodal> task-prompt P1..PK [lead-in]`.

The tags are ordinary text. Pieces are tokenised one by one and joined, as the papers do.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Layout = Literal["paper", "late"]
Continuation = Literal["natural", "bare"]
_TAGS = {"zh": ("<多模态>", "</多模态>")}
_DEFAULT_TAGS = ("<Multimodal>", "</Multimodal>")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A batch of prompts; nothing is padded yet, the backbone pads a batch as a whole.

    Attributes:
        before: Token ids of each sample before its pseudo tokens (B lists).
        after: Token ids of each sample after them (B lists).
        pseudo: Pseudo tokens [B, K, H], or None for a text-only prompt.
    """

    before: Sequence[Sequence[int]]
    after: Sequence[Sequence[int]]
    pseudo: Tensor | None = None

    def __len__(self) -> int:
        return len(self.before)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The wording around a sample.

    Attributes:
        task: What the backbone is asked to do, to the last word before the answer.
        open_tag: Opens the multimodal content.
        close_tag: Closes it.
        layout: Where the pseudo tokens stand.
        lead_in: The end of `task` that the late layout puts between the pseudo tokens and the answer.
    """

    task: str
    open_tag: str = _DEFAULT_TAGS[0]
    close_tag: str = _DEFAULT_TAGS[1]
    layout: Layout = "paper"
    lead_in: str = ""

    def __post_init__(self) -> None:
        """Check that the lead-in is part of the task prompt."""
        if not self.task.endswith(self.lead_in):
            raise InputError(f"The lead-in {self.lead_in!r} is not the end of the task prompt {self.task!r}.")

    @classmethod
    def for_language(
        cls, language: str, task: str, *, layout: Layout = "paper", lead_in: str = ""
    ) -> PromptTemplate:
        """A template with a language's tags (ISO 639-1): Chinese for "zh", else English."""
        open_tag, close_tag = _TAGS.get(language, _DEFAULT_TAGS)
        return cls(task, open_tag, close_tag, layout, lead_in)


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance of a dialogue; the speaker may be unknown ("")."""

    text: str
    speaker: str = ""

    def render(self) -> str:
        """`speaker: text`, or the text alone."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a sample's layout, for display."""

    role: str
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromptIds:
    """Token ids of a batch of prompts, before there are pseudo tokens.

    Attributes:
        before: As in `Prompt`.
        after: As in `Prompt`.
        text: Ids of each sample's own utterance, for `Backbone.embed`; empty where text is ablated.
    """

    before: list[list[int]]
    after: list[list[int]]
    text: list[list[int]]

    def with_pseudo(self, pseudo: Tensor | None) -> Prompt:
        """The complete prompt; pseudo tokens [B, K, H], or None for text alone."""
        return Prompt(self.before, self.after, pseudo)


class PromptTokenizer(Protocol):
    """The part of a `Backbone` that a prompt is built with."""

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a piece of text, without any special token."""
        ...

    def start_ids(self) -> list[int]:
        """Ids every prompt begins with."""
        ...


def answer_tokens(
    texts: Sequence[str], prompt: str, tokenizer: PromptTokenizer, continuation: Continuation
) -> list[list[int]]:
    """Token ids of answers.

    Args:
        texts: The answers.
        prompt: What stands before them, to its last word.
        tokenizer: The backbone.
        continuation: "natural" gives the tokens with which running text would go on after the prompt: with
            a space before the answer, unless the prompt ends in one or in Chinese, Japanese or Korean
            script. "bare" tokenises the answer alone, as the papers do, whose answers a language model
            trained on running text therefore hardly expects.
    """
    if continuation == "bare":
        return [tokenizer.tokenize(text) for text in texts]
    space = "" if not prompt or prompt[-1].isspace() or _is_unspaced(prompt[-1]) else " "
    before = tokenizer.tokenize(prompt)
    rows = [tokenizer.tokenize(prompt + space + text) for text in texts]
    if all(row[: len(before)] == before and len(row) > len(before) for row in rows):
        return [row[len(before) :] for row in rows]
    return [tokenizer.tokenize(space + text) for text in texts]


def _is_unspaced(letter: str) -> bool:
    """Whether a letter belongs to a script that writes no space between words."""
    return unicodedata.east_asian_width(letter) in "WF"


@dataclass
class PromptBuilder:
    """Builds prompts of one template for one backbone, tokenising every distinct piece once.

    Attributes:
        template: The wording.
        tokenizer: The backbone.
        max_text_tokens: Longest text, context included; None for no limit. The utterance is cut at
            its end, then context is dropped from the oldest turn on.
    """

    template: PromptTemplate
    tokenizer: PromptTokenizer
    max_text_tokens: int | None = None
    _ids: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)
    _texts: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the limit."""
        if self.max_text_tokens is not None and self.max_text_tokens < 1:
            raise InputError(f"max_text_tokens must be at least 1, got {self.max_text_tokens}.")

    def build(
        self,
        texts: Sequence[str | None],
        contexts: Sequence[Sequence[Turn]] | None = None,
        speakers: Sequence[str] | None = None,
    ) -> PromptIds:
        """Token ids of a batch.

        Args:
            texts: One utterance a sample; None leaves the text out (text ablated).
            contexts: Previous turns of each sample's dialogue, oldest first.
            speakers: Who says each utterance; named in the prompt only where there is context.
        """
        batch = PromptIds([], [], [])
        for index, text in enumerate(texts):
            pieces = self.pieces(
                text, contexts[index] if contexts else (), speakers[index] if speakers else ""
            )
            slot = next(at for at, piece in enumerate(pieces) if piece.role == "pseudo")
            batch.before.append([token for piece in pieces[:slot] for token in piece.token_ids])
            batch.after.append([token for piece in pieces[slot:] for token in piece.token_ids])
            batch.text.append([] if text is None else self._cut(text))
        return batch

    def pieces(self, text: str | None, context: Sequence[Turn] = (), speaker: str = "") -> list[Piece]:
        """The literal layout of one sample; the piece with the role "pseudo" has no ids yet."""
        template = self.template
        tags = self._piece("open tag", template.open_tag), self._piece("close tag", template.close_tag)
        start = Piece("start", "", tuple(self.tokenizer.start_ids()))
        pseudo = Piece("pseudo", "", ())
        content = self._content(text, context, speaker)
        if template.layout == "paper":
            return [start, tags[0], pseudo, *content, tags[1], self._piece("task", template.task)]
        task = template.task.removesuffix(template.lead_in)
        lead_in = [self._piece("lead-in", template.lead_in)] if template.lead_in else []
        return [start, tags[0], *content, tags[1], self._piece("task", task), pseudo, *lead_in]

    @property
    def num_texts(self) -> int:
        """Distinct utterances seen so far."""
        return len(self._texts)

    @property
    def num_truncated(self) -> int:
        """Distinct utterances seen so far that were cut."""
        limit = self.max_text_tokens
        return 0 if limit is None else sum(len(self._tokenize(text)) > limit for text in self._texts)

    @property
    def truncation_rate(self) -> float:
        """Share of the distinct utterances seen so far that were cut."""
        return self.num_truncated / max(1, self.num_texts)

    def _content(self, text: str | None, context: Sequence[Turn], speaker: str) -> list[Piece]:
        if text is None:
            return []
        if not context:
            return [Piece("text", text, tuple(self._cut(text)))]
        said = Turn(text, speaker).render()
        own = self._cut(text, said)
        room = None if self.max_text_tokens is None else self.max_text_tokens - len(own)
        kept: list[Piece] = []
        for turn in reversed(context):
            piece = self._piece("context", turn.render() + "\n")
            if room is not None:
                room -= len(piece.token_ids)
                if room < 0:
                    break
            kept.append(piece)
        return [*reversed(kept), Piece("text", said, tuple(own))]

    def _cut(self, text: str, rendered: str | None = None) -> list[int]:
        self._texts.add(text)
        return self._tokenize(text if rendered is None else rendered)[: self.max_text_tokens]

    def _piece(self, role: str, text: str) -> Piece:
        return Piece(role, text, tuple(self._tokenize(text)))

    def _tokenize(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self.tokenizer.tokenize(text)
        return self._ids[text]
