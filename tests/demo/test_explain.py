"""What the page asks a run, without the page."""

from __future__ import annotations

import re

import pytest

from msakit.core.errors import InputError, MediaError
from msakit.core.interfaces import MediaClip
from msakit.demo.drawing import answer_page, figures_page, introduction_page, problem_page
from msakit.demo.respondent import Respondent
from msakit.reports.figures import Figure
from msakit.workflows.explain import explain_clip, explain_text
from msakit.workflows.predict import MediaReader
from msakit.workflows.responses import Response

pytest.importorskip("mediapipe")
pytest.importorskip("librosa")
pytest.importorskip("matplotlib")

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def reader(scored, registry):
    return MediaReader(scored, registry)


@pytest.fixture(scope="module")
def respondent(scored, registry):
    return Respondent(scored, registry, transcriber="nobody")


def test_a_stream_left_out_is_a_clip_without_it(scored, reader, clip):
    """Leaving the text out gives what the clip without a transcript gives; voice and face, the text alone."""
    path, text = clip
    whole = explain_clip(scored, reader, MediaClip(path, path.name, text))
    assert whole.without.keys() == {"text", "audio", "vision"}
    assert sum(whole.response.probabilities.values()) == pytest.approx(1)
    silent = explain_clip(scored, reader, MediaClip(path, path.name))
    assert silent.response.absent == ["text"]
    assert silent.response.probabilities == pytest.approx(whole.without["text"].probabilities, abs=1e-6)
    assert whole.without["text"].probabilities != pytest.approx(whole.response.probabilities, abs=1e-6)
    alone = explain_text(scored, text)
    assert (alone.response.absent, alone.without) == (["audio", "vision"], {})
    assert {name: len(each) for name, each in whole.view.maps.items()} == dict.fromkeys(
        ("attention_text_audio", "attention_text_vision"), len(whole.view.tokens)
    )
    assert [*silent.view.maps, *alone.view.maps] == []  # nothing was there to look at, or to look from


def test_what_cannot_be_answered_says_so(scored, reader, tmp_path, clip):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip[0].read_bytes()[:20_000])
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        explain_clip(scored, reader, MediaClip(broken, "broken.mp4"))


def test_the_respondent_answers_with_html(respondent, clip, tmp_path):
    path, text = clip
    answer, figures = respondent.answer(str(path), text)
    assert 'class="value"' in answer
    assert figures.count("<img") == 2
    assert respondent.answer(None, "  ")[0] == problem_page(
        "There is nothing to answer for.", "Give a clip, a transcript, or both."
    )
    assert 'role="alert"' not in respondent.answer(None, text)[0]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    said, _ = respondent.answer(str(broken), text)
    assert 'role="alert"' in said
    assert "broken.mp4" in said
    assert str(tmp_path) not in said


def test_a_cut_recording_has_a_timeline(respondent, clip):
    answer, figures = respondent.answer(str(clip[0]), "", "1.5")
    assert 'class="value"' in answer
    assert 'alt="Over time"' in figures


def test_without_a_transcriber_the_page_says_why(respondent, clip):
    assert respondent.transcriber is None
    assert "Unknown transcriber 'nobody'" in respondent.silence
    text, problem = respondent.transcribe(str(clip[0]))
    assert (text, 'role="alert"' in problem) == ("", True)


def test_what_the_run_was_trained_on_is_said(respondent):
    assert "a synthetic voice and a drawn face" in respondent.introduction
    assert "scores from -3 to 3" in respondent.introduction


def test_a_run_that_reads_no_text_asks_for_a_clip(scored, monkeypatch):
    monkeypatch.setattr(type(scored), "streams", ("audio", "vision"))
    with pytest.raises(InputError, match="does not read text"):
        explain_text(scored, "great")


def test_classes_are_drawn_by_name_and_scores_as_a_histogram():
    whole = Response("a", "joy", "joy", probabilities={"joy": 0.6, "anger": 0.3, HOSTILE: 0.1})
    other = Response("a", "anger", "anger", probabilities={"joy": 0.2, "anger": 0.7, HOSTILE: 0.1})
    drawn = answer_page(whole, {"audio": other}, None)
    widths = re.findall(r'class="(top|bar)" style="width:([\d.]+)%"', drawn)
    assert widths[:3] == [("top", "60.0"), ("bar", "30.0"), ("bar", "10.0")]
    assert widths[3:] == [("top", "60.0"), ("top", "20.0")]  # the probability of joy, with and without
    scores = {f"{score / 10:+.1f}": 1 / 61 for score in range(-30, 31)}
    drawn = answer_page(Response("a", 1.5, "positive", 0.9, probabilities=scores), {}, (-3.0, 3.0))
    assert drawn.count("<rect") == 61
    assert "+1.50" in drawn


def test_nothing_given_to_the_page_becomes_markup():
    odd = Response(
        HOSTILE, HOSTILE, HOSTILE, notes=[HOSTILE], probabilities={HOSTILE: 1.0}, generated=HOSTILE
    )
    pages = [
        answer_page(odd, {HOSTILE: odd}, None),
        problem_page(HOSTILE, HOSTILE),
        introduction_page(HOSTILE, [HOSTILE], HOSTILE),
        figures_page(HOSTILE, [Figure(HOSTILE, "", f"<svg>{HOSTILE}</svg>")]),
    ]
    assert [page for page in pages if "<img src=x" in page] == []
