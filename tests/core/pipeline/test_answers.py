from __future__ import annotations

import numpy as np
import pytest

from msakit.core.errors import DataError, InputError
from msakit.core.pipeline.answers import AnswerSet, AnswerTrie

MOSEI = AnswerSet.regression(-3, 3)
SIMS = AnswerSet.regression(-1, 1, sign="plain")


def test_regression_answers_are_every_value_of_the_range_at_one_decimal():
    assert len(MOSEI) == 61
    assert MOSEI.texts[0] == "-3.0"
    assert MOSEI.texts[30] == "+0.0"
    assert MOSEI.texts[42] == "+1.2"
    assert MOSEI.values[42] == 1.2
    assert len(SIMS) == 21
    assert SIMS.texts[10:13] == ("0.0", "0.1", "0.2")
    assert list(SIMS.values) == sorted(SIMS.values)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (1.2, "+1.2"),
        (-0.04, "+0.0"),
        (0.0, "+0.0"),
        (-0.0, "+0.0"),
        (2.96, "+3.0"),
        (-2 / 3, "-0.7"),
        (0.25, "+0.2"),
    ],
)
def test_a_label_is_written_as_the_nearest_answer(label, text):
    assert MOSEI.text_of(label) == text


def test_labels_round_as_the_papers_format_them():
    for label in np.linspace(-3, 3, 2001):
        text = f"{label:+.1f}"
        assert MOSEI.text_of(label) == ("+0.0" if text == "-0.0" else text)


@pytest.mark.parametrize("label", [3.2, -3.06, float("nan"), float("inf")])
def test_a_label_without_an_answer_is_refused(label):
    with pytest.raises(DataError, match="has no answer"):
        MOSEI.index_of(label)


def test_classes_answer_with_indices_or_names():
    by_index = AnswerSet.classification(["neutral", "joy"])
    by_name = AnswerSet.classification(["neutral", "joy"], style="name")
    assert by_index.texts == ("0", "1")
    assert by_name.texts == ("neutral", "joy")
    assert by_name.text_of(1) == "joy"
    with pytest.raises(DataError):
        by_index.index_of(2)
    with pytest.raises(DataError):
        by_index.index_of(0.5)


def test_an_answer_set_refuses_emptiness_and_doubles():
    with pytest.raises(InputError, match="at least one"):
        AnswerSet.classification([])
    with pytest.raises(InputError, match="joy"):
        AnswerSet.classification(["joy", "joy"], style="name")
    with pytest.raises(InputError, match="label range"):
        AnswerSet.regression(1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("+1.2", 1.2), (" -0.6 and more", -0.6), ("\u22120.6", -0.6), ("0", 0.0), ("-0.0", 0.0), ("+ 1.2", 1.2)],
)
def test_generated_numbers_are_read(text, value):
    parsed = MOSEI.parse(text)
    assert parsed.value == value
    assert not parsed.reason
    assert not np.signbit(parsed.value) or value < 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing"),
        ("  ", "nothing"),
        ("positive", "no number"),
        ("+", "no number"),
        ("7.5", "outside"),
        ("is 1.2", "no number"),
    ],
)
def test_what_is_no_answer_has_a_reason_and_no_value(text, reason):
    parsed = MOSEI.parse(text)
    assert parsed.value is None
    assert reason in parsed.reason


def test_generated_classes_are_read():
    names = AnswerSet.classification(["joy", "joyful", "平静"], style="name")
    assert names.parse(" Joyful!").value == 1
    assert names.parse("joy.").value == 0
    assert names.parse("joyless").value is None
    assert names.parse("平静的").value == 2
    many = AnswerSet.classification([str(i) for i in range(12)])
    assert many.parse("1").value == 1
    assert many.parse("11").value == 11
    assert many.parse("111").value is None


def test_predictions_minimise_the_error_they_are_named_after():
    rng = np.random.default_rng(0)
    scores = np.log(rng.dirichlet(np.full(61, 0.3), size=20)) - rng.uniform(0, 9, (20, 1))
    chances, values = MOSEI.probabilities(scores), np.asarray(MOSEI.values)
    assert np.allclose(chances.sum(1), 1)
    candidates = np.linspace(-3, 3, 6001)
    absolute = np.abs(candidates[:, None] - values) @ chances.T
    squared = np.square(candidates[:, None] - values) @ chances.T
    median, mean, mode = (MOSEI.reduce(scores, how) for how in ("median", "mean", "mode"))
    assert np.allclose((np.abs(median[:, None] - values) * chances).sum(1), absolute.min(0), atol=1e-6)
    assert np.allclose(mean, candidates[squared.argmin(0)], atol=1e-3)
    assert np.array_equal(mode, values[scores.argmax(1)])
    assert np.array_equal(MOSEI.reduce(scores), median)


def test_classes_have_no_mean():
    classes = AnswerSet.classification(["a", "b"])
    assert classes.reduce([[-1.0, -2.0], [-3.0, -0.5]]).tolist() == [0, 1]
    with pytest.raises(InputError, match="median"):
        classes.reduce([[-1.0, -2.0]], "median")


def _answers_of(trie):
    """Answers rebuilt from the trie's edges alone."""
    return [tuple(trie.edge_tokens[edge] for edge in path) for path in trie.paths]


def test_the_trie_holds_each_answer_as_a_path_of_adjoining_edges():
    rows = [(1, 2, 3), (1, 2, 4), (1, 5), (6,)]
    trie = AnswerTrie.build(rows)
    assert _answers_of(trie) == rows
    assert trie.answers == tuple(rows)
    assert len(trie.tokens) == 2  # "1" and "1 2" have children
    for path in trie.paths:
        node = 0
        for edge in path:
            assert trie.edge_nodes[edge] == node
            children = [
                index + 1
                for index, (parent, token) in enumerate(zip(trie.parents, trie.tokens, strict=True))
                if (parent, token) == (node, trie.edge_tokens[edge])
            ]
            node = children[0] if children else None


def test_tree_nodes_see_themselves_and_their_ancestors_only():
    trie = AnswerTrie.build([(1, 2, 3, 9), (1, 4, 9), (5, 9)])
    paths = []
    for index in range(len(trie.tokens)):
        seen = {other for other in range(len(trie.tokens)) if trie.ancestors[index, other]}
        assert len(seen) == trie.depths[index]
        paths.append([trie.tokens[other] for other in sorted(seen, key=lambda other: trie.depths[other])])
    assert sorted(paths) == [[1], [1, 2], [1, 2, 3], [1, 4], [5]]
    assert all(parent <= index for index, parent in enumerate(trie.parents))


def test_answers_that_begin_others_end_with_the_end_token():
    trie = AnswerTrie.build([(1,), (1, 0), (2,)], end_id=99)
    assert trie.answers == ((1, 99), (1, 0, 99), (2, 99))
    assert AnswerTrie.build([(1,), (2,)], end_id=99).answers == ((1,), (2,))
    with pytest.raises(InputError, match="end token"):
        AnswerTrie.build([(1,), (1, 0)])


@pytest.mark.parametrize("rows", [[], [(1,), ()], [(1, 2), (1, 2)]])
def test_answers_the_backbone_cannot_tell_apart_are_refused(rows):
    with pytest.raises(InputError):
        AnswerTrie.build(rows, end_id=99)
