"""The page of a study: every system and seed, intervals, curves, a table for a paper."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from run_folders import write_run

from msakit.core.errors import InputError
from msakit.reports.mistakes import find_mistakes, seen_and_heard
from msakit.reports.report import write_report
from msakit.reports.study_page import study_groups
from msakit.runs.results import read_run
from tests.reports.test_report import Page, svg_texts

CLIPS = Path(__file__).parents[2] / "examples" / "clips"
LABELS = np.random.default_rng(0).integers(-30, 31, 40) / 10


@pytest.fixture
def study(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for system, spread in (("concat", 1.5), ("tgm, 6 tokens", 0.3), ("alone", 0.9)):
        for seed in (1111, 2222) if system != "alone" else (1111,):
            values = np.clip(LABELS + rng.normal(0, spread, 40), -3, 3)
            history = [
                {"step": e, "epoch": e + 1, "split": "valid", "mae": spread / (e + 1)} for e in range(3)
            ]
            folder = tmp_path / "study" / system / (f"seed-{seed}" if system != "alone" else "")
            write_run(
                folder,
                values,
                LABELS,
                seed=seed,
                history=history,
                baselines={"test": {"mean": {"mae": 1.7}}},
                warnings=[f"test: the gate of {system} is uniform"],
                columns={"speaker": [f"s{index // 3}" for index in range(40)]},
            )
            (folder / "pipeline.yaml").write_text("dataset: mosei\n")
    return tmp_path / "study"


def test_systems_stand_side_by_side_the_best_first(study: Path, tmp_path: Path) -> None:
    written = write_report(study, tmp_path / "report.html")
    page = Page(written.read_text(encoding="utf-8"))
    bars = svg_texts(page.images["MAE"])
    assert [text for text in bars if text in ("tgm, 6 tokens", "alone", "concat")] == [
        "tgm, 6 tokens", "alone", "concat"
    ]  # fmt: skip
    assert "mean" in {text.strip() for text in bars}
    curves = svg_texts(page.images["Validation MAE"])
    assert {"tgm, 6 tokens", "alone", "concat"} <= set(curves)
    rows = {row[0]: row for row in page.rows if row}
    assert rows["tgm, 6 tokens"][-1:] == ["reference"]
    assert any("±" in cell for row in page.rows for cell in row if row[0] == "concat")
    shown = " ".join("".join(page.texts).split())
    assert "paired bootstrap over 14 speakers" in shown
    assert r"\begin{tabular}" in shown
    assert "the gate of concat is uniform" in shown
    assert "Largest errors of tgm, 6 tokens, seed-1111" in shown
    assert all(link.startswith("data:") for link in page.links)


def test_labels_of_constants_face_away_from_each_other(study: Path, tmp_path: Path) -> None:
    for mean, median in ((1.7, 1.6), (1.6, 1.7), (1.65, 1.65)):
        for record in study.rglob("metrics.json"):
            told = json.loads(record.read_text())
            told["baselines"] = {"test": {"mean": {"mae": mean}, "median": {"mae": median}}}
            record.write_text(json.dumps(told))
        page = Page(write_report(study, tmp_path / "report.html").read_text(encoding="utf-8"))
        sides = {
            "".join(node.itertext()).strip(): "left"
            if "text-anchor: end" in node.get("style", "")
            else "right"
            for node in page.images["MAE"].iter("{http://www.w3.org/2000/svg}text")
        }
        left, right = ("median", "mean") if mean > median else ("mean", "median")
        assert (sides[left], sides[right]) == ("left", "right")


def test_one_epoch_makes_no_curve(study: Path, tmp_path: Path) -> None:
    for history in study.rglob("history.jsonl"):
        history.write_text(history.read_text().splitlines()[0] + "\n")
    page = Page(write_report(study, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "MAE" in page.images
    assert "Validation MAE" not in page.images


def test_a_folder_of_seeds_is_a_study_of_one_system(study: Path, tmp_path: Path) -> None:
    page = Page(write_report(study / "concat", tmp_path / "seeds.html").read_text(encoding="utf-8"))
    assert "Largest errors of concat, seed-1111" in " ".join(page.texts)


def test_groups_are_the_finished_seeds_of_each_system(study: Path) -> None:
    (study / "concat" / "seed-3333").mkdir()
    groups = study_groups(study)
    assert {group.name: len(group.runs) for group in groups} == {"alone": 1, "concat": 2, "tgm, 6 tokens": 2}


def test_runs_on_other_samples_are_refused(study: Path, tmp_path: Path) -> None:
    write_run(study / "odd", [0.0], [1.0])
    (study / "odd" / "pipeline.yaml").write_text("dataset: mosei\n")
    with pytest.raises(InputError, match="other test samples"):
        write_report(study, tmp_path / "report.html")


def test_a_sample_is_seen_and_heard_where_its_media_are(tmp_path: Path) -> None:
    pytest.importorskip("av")
    shown = seen_and_heard("movie05708", CLIPS)
    assert shown["frame"].startswith("data:image/jpeg;base64,")
    with wave.open(io.BytesIO(base64.b64decode(shown["sound"].partition(",")[2]))) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 16_000)
        assert sound.getnframes() > 8_000
    assert seen_and_heard("nobody", CLIPS) == {}
    assert seen_and_heard("../clips/movie05708", CLIPS) == {}
    run = read_run(write_run(tmp_path / "run", [0.0], [2.0], ids=["movie05708"]))
    (mistake,) = find_mistakes(run, run.predictions("test"), CLIPS)
    assert mistake.frame
