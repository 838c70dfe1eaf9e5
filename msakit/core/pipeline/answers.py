"""The finite set of answers of a task, and how predictions are read off their probabilities.

Regression answers are every value of the label range at one decimal, written as the papers write
them (`+1.2`); classification answers are class indices or class names. A backbone scores all of
them at once through an `AnswerTrie` of their tokens, so a prediction is never unparseable; text that
was generated freely instead is parsed to a value or to the reason why it has none.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from msakit.core.errors import DataError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Task = Literal["regression", "classification"]
SignPolicy = Literal["plus", "plain"]
Reduction = Literal["mode", "median", "mean"]

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_DASHES = str.maketrans({"\u2212": "-", "\u2013": "-", "\uff0d": "-", "\uff0b": "+", "\uff0e": "."})


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A generated text, parsed.

    Attributes:
        value: The score or class index, or None where the text is no admissible answer.
        reason: Why there is no value; empty otherwise.
    """

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class AnswerSet:
    """Every admissible answer of a task.

    Attributes:
        task: "regression" or "classification".
        texts: What the backbone writes, A distinct texts.
        values: The score of each text, ascending (regression), or its class index.
        decimals: Decimals of a regression answer.
    """

    task: Task
    texts: tuple[str, ...]
    values: tuple[float, ...]
    decimals: int = 1

    def __post_init__(self) -> None:
        """Refuse an empty set and texts that mean two things."""
        if not self.texts:
            raise InputError("An answer set needs at least one answer.")
        if len(set(self.texts)) != len(self.texts):
            twice = sorted({text for text in self.texts if self.texts.count(text) > 1})
            raise InputError(f"Answers must differ, these appear more than once: {', '.join(twice)}.")

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def regression(
        cls, low: float, high: float, *, decimals: int = 1, sign: SignPolicy = "plus"
    ) -> AnswerSet:
        """Every value of [low, high] at the given decimals: 61 for [-3, 3], 21 for [-1, 1].

        Zero is written `+0.0` (sign "plus", as MSE-Adapter does for Qwen) or `0.0` (sign "plain", as
        it does for ChatGLM3 and Llama 2), never `-0.0`.

        Raises:
            InputError: The range is empty.
        """
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"A label range needs two finite numbers, low below high, got [{low}, {high}].")
        scale = 10**decimals
        ticks = range(math.ceil(low * scale - 1e-6), math.floor(high * scale + 1e-6) + 1)
        values = tuple(tick / scale for tick in ticks)
        style = f"+.{decimals}f" if sign == "plus" else f".{decimals}f"
        return cls("regression", tuple(format(value, style) for value in values), values, decimals)

    @classmethod
    def classification(cls, labels: Sequence[str], *, style: Literal["index", "name"] = "index") -> AnswerSet:
        """One answer a class: its index ("0", "1", ...) or its name."""
        texts = tuple(labels) if style == "name" else tuple(str(index) for index in range(len(labels)))
        return cls("classification", texts, tuple(float(index) for index in range(len(labels))))

    @cached_property
    def _index_of_tick(self) -> dict[int, int]:
        scale = 10**self.decimals
        return {round(value * scale): index for index, value in enumerate(self.values)}

    def index_of(self, label: float) -> int:
        """The answer nearest to a label; halves round to even, as `f"{label:.1f}"` does.

        Raises:
            DataError: The label is no finite number, outside the range, or no class index.
        """
        if math.isfinite(label):
            if self.task == "classification":
                if label == int(label) and 0 <= label < len(self):
                    return int(label)
            else:
                tick = round(round(float(label), self.decimals) * 10**self.decimals)
                if tick in self._index_of_tick:
                    return self._index_of_tick[tick]
        span = f"{self.values[0]:g} to {self.values[-1]:g}"
        raise DataError(
            f"Label {label:g} has no answer: the {self.task} answers go from {span}.",
            hint="Correct the labels, or set the dataset's label_range / labels to what they are.",
        )

    def text_of(self, label: float) -> str:
        """The answer text a backbone is trained to write for a label."""
        return self.texts[self.index_of(label)]

    def parse(self, text: str) -> ParsedAnswer:
        """Read a generated text; what follows the answer is ignored."""
        shown = text.strip().translate(_DASHES)
        if not shown:
            return ParsedAnswer(None, "nothing was generated")
        return self._parse_number(shown) if self.task == "regression" else self._parse_class(shown)

    def _parse_number(self, shown: str) -> ParsedAnswer:
        found = _NUMBER.match(shown.replace(" ", ""))
        if found is None:
            return ParsedAnswer(None, f"no number at the start of {shown!r}")
        value = float(found[0])
        if not self.values[0] <= value <= self.values[-1]:
            return ParsedAnswer(None, f"{value:g} is outside [{self.values[0]:g}, {self.values[-1]:g}]")
        return ParsedAnswer(value + 0.0)

    def _parse_class(self, shown: str) -> ParsedAnswer:
        lowered = shown.casefold()
        for index in sorted(range(len(self)), key=lambda index: -len(self.texts[index])):
            name = self.texts[index].strip().casefold()
            if not lowered.startswith(name):
                continue
            following = lowered[len(name) : len(name) + 1]
            if not (name.isascii() and following.isascii() and following.isalnum()):
                return ParsedAnswer(self.values[index])
        return ParsedAnswer(None, f"no class at the start of {shown!r}")

    def probabilities(self, scores: Any) -> NDArray[np.float64]:
        """Scores (log p) of the answers [B, A] to probabilities among them, rows summing to 1."""
        logs = np.asarray(scores, dtype=np.float64)
        shifted = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))

    def reduce(self, scores: Any, how: Reduction | None = None) -> NDArray[np.float64]:
        """One prediction a sample from log p of the answers.

        Args:
            scores: [B, A].
            how: "mode" is the most probable answer; "median" the value half of the mass lies at or
                below, which minimises the expected absolute error; "mean" the expected value, which
                minimises the expected squared error. None takes the task's own: median for
                regression, mode for classification.

        Returns:
            [B] scores or class indices.

        Raises:
            InputError: A median or mean of classes was asked for.
        """
        how = how or ("median" if self.task == "regression" else "mode")
        if self.task == "classification" and how != "mode":
            raise InputError(f"Classes have no {how}; classification predictions are the mode.")
        chances = self.probabilities(scores)
        values: NDArray[np.float64] = np.asarray(self.values)
        if how == "mean":
            return np.asarray(chances @ values)
        reached = chances.cumsum(axis=-1) >= 0.5 - 1e-12
        index = (chances if how == "mode" else reached).argmax(axis=-1)  # of booleans: the first true
        return np.asarray(values[index])


@dataclass(frozen=True)
class AnswerTrie:
    """Answers as paths through a tree of tokens.

    Only nodes with children are numbered ("inner" nodes); number 0 is the root, which stands for the
    prompt's last token. A parent always has a lower number than its children. An edge is one
    next-token choice; an answer's log p is the sum over the edges of its path.

    Attributes:
        answers: Token ids of each answer, with the end token where one is used.
        tokens: Token id of inner nodes 1, 2, ... (N).
        parents: Number of the parent of inner nodes 1, 2, ... (N).
        depths: Distance from the root of inner nodes 1, 2, ... (N), from 1.
        edge_nodes: Inner node each edge leaves (M).
        edge_tokens: Token each edge chooses (M).
        paths: Edges of each answer, from the root (A).
    """

    answers: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    edge_nodes: tuple[int, ...]
    edge_tokens: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.answers)

    @classmethod
    def build(cls, answers: Sequence[Sequence[int]], *, end_id: int | None = None) -> AnswerTrie:
        """The trie of the given answers.

        Where one answer begins another ("1" and "10"), every answer ends with `end_id`; else none does.

        Raises:
            InputError: An answer is empty, two are equal, or an end token is needed and there is none.
        """
        rows = [tuple(answer) for answer in answers]
        if not rows or not all(rows):
            raise InputError("Every answer needs at least one token.")
        if len(set(rows)) != len(rows):
            raise InputError("Two answers have the same tokens, so the backbone cannot tell them apart.")
        if _some_begins_another(rows):
            if end_id is None:
                raise InputError(
                    "One answer begins another, which needs an end token, and the backbone has none.",
                    hint="Answer with class names, or with indices of fewer than 11 classes.",
                )
            rows = [(*row, end_id) for row in rows]
        return cls._from_rows(tuple(rows))

    @classmethod
    def _from_rows(cls, rows: tuple[tuple[int, ...], ...]) -> AnswerTrie:
        starts = {row[:cut] for row in rows for cut in range(len(row))}
        prefixes = sorted(starts, key=lambda start: (len(start), start))
        number = {prefix: index for index, prefix in enumerate(prefixes)}
        steps = sorted({row[:cut] for row in rows for cut in range(1, len(row) + 1)})
        edges = {step: index for index, step in enumerate(steps)}
        inner = prefixes[1:]
        return cls(
            answers=rows,
            tokens=tuple(prefix[-1] for prefix in inner),
            parents=tuple(number[prefix[:-1]] for prefix in inner),
            depths=tuple(len(prefix) for prefix in inner),
            edge_nodes=tuple(number[edge[:-1]] for edge in edges),
            edge_tokens=tuple(edge[-1] for edge in edges),
            paths=tuple(tuple(edges[row[:cut]] for cut in range(1, len(row) + 1)) for row in rows),
        )

    @cached_property
    def ancestors(self) -> NDArray[np.bool_]:
        """[N, N]: whether inner node i+1 sees inner node j+1, that is itself or an ancestor."""
        seen = np.eye(len(self.tokens), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent:
                seen[node] |= seen[parent - 1]
        return seen

    @cached_property
    def padded_paths(self) -> NDArray[np.int64]:
        """[A, longest]: edges of each answer; M (one past the last edge) fills short rows."""
        table = np.full((len(self.paths), max(map(len, self.paths))), len(self.edge_tokens), dtype=np.int64)
        for row, path in enumerate(self.paths):
            table[row, : len(path)] = path
        return table


def _some_begins_another(rows: Sequence[tuple[int, ...]]) -> bool:
    ordered = sorted(rows)
    return any(right[: len(left)] == left for left, right in itertools.pairwise(ordered))
