"""The HTML report: stands alone, escapes, shows what the run says."""

from __future__ import annotations

import base64
import html.parser
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from run_folders import ERC_NAMES, write_run

from msakit.core.errors import InputError
from msakit.core.interfaces import Diagnostic
from msakit.metrics.calibration import expected_calibration_error, interval_coverage
from msakit.reports.diagnostic_figures import attention_maps
from msakit.reports.figures import BLUE
from msakit.reports.mistakes import find_mistakes
from msakit.reports.report import write_report
from msakit.reports.run_page import fusion_figures
from msakit.runs.diagnostic_maps import Maps, read_maps, write_maps
from msakit.runs.results import read_run

EVIL = "<script>alert('x')</script>&$x^2$"


class Page(html.parser.HTMLParser):
    """The texts, images and table rows of a page, and every place it would fetch from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: dict[str, ET.Element] = {}
        self.links: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [str(value) for key, value in attrs if key in ("src", "href", "action")]
        if tag == "tr":
            self.rows.append([])
        if tag == "img":
            payload = str(found["src"]).removeprefix("data:image/svg+xml;base64,")
            self.images[str(found["alt"]).partition(".")[0]] = ET.fromstring(base64.b64decode(payload))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.tags[-1:] in (["td"], ["th"]) and data.strip():
            self.rows[-1].append(data)


def svg_texts(image: ET.Element) -> list[str]:
    return ["".join(node.itertext()) for node in image.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    labels = rng.integers(-30, 31, 60) / 10
    values = np.clip(labels + rng.normal(0, 0.5, 60), -3, 3).round(1)
    columns = {f"p:{answer}": np.exp(-((float(answer) - values) ** 2)) for answer in ("-1.5", "+0.0", "+1.5")}
    columns |= {f"d:alpha[{index}]": rng.random(60) for index in range(3)}
    columns |= {"d:entropy": rng.random(60)}
    history = [
        {"step": step, "epoch": 1 + (step - 1) // 5, "split": "train", "loss": 1 / step}
        for step in range(1, 11)
    ]
    history += [
        {"step": 5 * (e + 1), "epoch": e + 1, "split": "valid", "mae": 1.0 - 0.1 * e} for e in range(2)
    ]
    return write_run(
        tmp_path_factory.mktemp("regression") / "run",
        ["", *values[1:]],
        labels,
        ids=[f"{EVIL}{index}" for index in range(60)],
        columns=columns,
        history=history,
        splits={"valid": {"mae": 0.654321, "corr": None}},
        baselines={"test": {"mean": {"mae": 1.6}, "median": {"mae": 1.5}}},
        parameters={"trainable": 1234, "total": 123400},
        timing={"train_s": 125.0, "samples_per_s": 31.25},
        warnings=[f"test: the gate is uniform {EVIL}"],
        diagnostics={
            "alpha": {"kind": "weights", "entries": ["small", "large", "other"], "title": ""},
            "attention_text_audio": {"kind": "map", "entries": ["text", "audio"], "title": ""},
        },
        training={"best_epoch": 2, "epochs": 2, "stopped": "all epochs done"},
    )


@pytest.fixture(scope="module")
def page(regression: Path) -> Page:
    (regression / "pipeline.yaml").write_text(f'dataset: mosei\nfuser: {{name: tgm, note: "{EVIL}"}}\n')
    (regression / "provenance.json").write_text(json.dumps({"command": ["msakit", EVIL]}))
    (regression / "features.json").write_text(json.dumps({"audio": {"frame_shift_s": 0.1}}))
    write_run(
        regression / "evaluations" / "without-audio",
        [0.0],
        [1.0],
        splits={"test": {"mae": 0.987654}},
        condition={"without": ["audio (absent)"]},
    )
    arrays = {"a": np.ones((2, 3)), "b": np.ones((4, 5))}
    maps = Maps({"attention_text_audio": arrays}, {"a": ["so", " dull"]})
    write_maps(regression / "diagnostics.test.npz", maps)
    return Page(
        write_report(regression, regression.parent / "out" / "report.html").read_text(encoding="utf-8")
    )


def test_the_file_fetches_nothing(page: Page) -> None:
    assert page.links
    assert all(link.startswith("data:") for link in page.links)
    assert "script" not in page.tags
    assert "link" not in page.tags


def test_all_text_of_the_run_is_escaped(page: Page) -> None:
    shown = "".join(page.texts)
    assert f"{EVIL}0" in shown
    assert f"msakit {EVIL}" in shown
    assert f"test: the gate is uniform {EVIL}" in shown
    assert f"note {EVIL}" in shown


def test_metrics_stand_beside_baselines_and_other_splits(page: Page, regression: Path) -> None:
    value = read_run(regression).metrics("test")["mae"]
    row = next(row for row in page.rows if row[0] == "MAE")
    assert row[1:5] == ["0.654", f"{value:.3f}", "1.600", "1.500"]
    assert any(row[:2] == ["MAE", "0.988"] for row in page.rows)
    assert next(row for row in page.rows if row[0] == "missing")[2] == "0.017"


def test_tiles_show_the_main_metric_parameters_and_time(page: Page) -> None:
    shown = " ".join("".join(page.texts).split())
    assert "always the median of the training labels: 1.500" in shown
    assert "1,234" in shown
    assert "1.000% of 123,400" in shown
    assert "2.1 min" in shown


def test_every_drawing_is_there(page: Page) -> None:
    assert list(page.images) == [
        "Training loss",
        "Validation MAE",
        "Predictions against labels",
        "Error by label",
        "Calibration",
        "alpha",
        "entropy",
        "a: text over audio",
        "b: text over audio",
    ]
    assert {"so", "dull", "seconds", "text"} <= set(svg_texts(page.images["a: text over audio"]))
    assert {"small: mean", "large: mean"} <= {text[:11] for text in svg_texts(page.images["alpha"])}


def test_no_map_over_an_absent_modality_is_drawn(tmp_path: Path) -> None:
    names = {f"attention_text_{stream}": ("text", stream) for stream in ("audio", "vision")}
    described = {name: {"kind": "map", "entries": entries, "title": ""} for name, entries in names.items()}
    columns = {"absent": ["", "audio"]}
    folder = write_run(tmp_path, [0, 0], [0, 0], ids="ab", columns=columns, diagnostics=described)
    write_maps(
        folder / "diagnostics.test.npz", Maps({name: dict.fromkeys("ab", np.ones((2, 3))) for name in names})
    )
    run = read_run(folder)
    drawn = [figure.title for figure in fusion_figures(run, run.predictions("test"), "test")]
    assert drawn == ["a: text over audio", "a: text over vision", "b: text over vision"]


def test_attention_from_a_single_state_is_drawn_as_bars_over_the_seconds() -> None:
    described = {"a": Diagnostic("map", ("text", "audio"), "")}
    (figure,) = attention_maps({"a": np.full((1, 5), 0.2)}, ("so", "dull"), described, {"audio": 0.5})
    drawing = ET.fromstring(figure.svg)
    filled = [
        path for path in drawing.iter("{http://www.w3.org/2000/svg}path") if BLUE in path.get("style", "")
    ]
    assert len(filled) == 5
    assert {"seconds", "attention, mean over heads", "2.5"} <= set(svg_texts(drawing))


def test_the_worst_sample_is_the_one_without_a_prediction(regression: Path) -> None:
    run = read_run(regression)
    first, second, *_ = find_mistakes(run, run.predictions("test"))
    assert (first.id, first.prediction) == (f"{EVIL}0", "(none)")
    assert float(second.label) - float(second.prediction) != 0
    assert len(second.likeliest) == 3


def test_the_same_run_gives_the_same_file(regression: Path, tmp_path: Path) -> None:
    first = write_report(regression, tmp_path / "a.html").read_bytes()
    assert write_report(regression, tmp_path / "b.html").read_bytes() == first


def test_classification_shows_confusion_classes_and_certain_errors(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run",
        ["joy", "neutral", "anger", "joy"],
        ["joy", "joy", "anger", "neutral"],
        columns={
            "p:neutral": [0.1, 0.9, 0.0, 0.2],
            "p:joy": [0.9, 0.1, 0.1, 0.6],
            "p:anger": [0.0, 0.0, 0.9, 0.2],
        },
        dataset="meld",
        family="erc",
        label_names=ERC_NAMES,
    )
    page = Page(write_report(folder, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert list(page.images) == ["Confusion matrix", "F1 of each class", "Calibration"]
    cells = [text for text in svg_texts(page.images["Confusion matrix"]) if re.fullmatch(r"\d+", text)]
    assert cells == ["0", "1", "0", "1", "1", "0", "0", "0", "1"]
    assert "joy (2)" in svg_texts(page.images["F1 of each class"])
    run = read_run(folder)
    mistakes = find_mistakes(run, run.predictions("test"))
    assert [(one.id, one.label, one.prediction, one.likeliest[0]) for one in mistakes] == [
        ("clip1", "joy", "neutral", ("neutral", 0.9)),
        ("clip3", "neutral", "joy", ("joy", 0.6)),
    ]
    assert "Wrong and sure of it" in page.texts


def test_missing_answers_have_a_column_in_the_confusion_matrix(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", ["joy", ""], ["joy", "anger"], dataset="meld", family="erc", label_names=ERC_NAMES
    )
    page = Page(write_report(folder, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "(none)" in svg_texts(page.images["Confusion matrix"])


def test_a_run_with_nothing_but_predictions_has_a_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [0.5, 0.5], [0.5, 0.5], split="valid")
    page = Page(write_report(folder, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "mosei, valid split, 2 samples" in page.texts


def test_a_run_without_predictions_and_a_folder_without_runs_say_what_to_do(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "group" / "seed-1", [0.5], [0.5])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no finished run"):
        write_report(tmp_path / "empty", tmp_path / "report.html")
    (folder / "predictions.test.csv").unlink()
    with pytest.raises(InputError, match="msakit evaluate"):
        write_report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_a_missing_package_names_the_extra(regression: Path, tmp_path: Path, module: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from pathlib import Path\nfrom msakit.core.errors import MissingExtraError\n"
        "from msakit.reports.report import write_report\n"
        f"try: write_report(Path({str(regression)!r}), Path({str(tmp_path / 'r.html')!r}))\n"
        "except MissingExtraError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "msakit[report]" in result.stdout


def test_calibration_error_is_the_gap_weighted_by_bins() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, False, True, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0.0


def test_intervals_of_a_true_distribution_cover_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    answers = np.arange(-30, 31) / 10
    centres = rng.uniform(-1, 1, 4000)
    table = np.exp(-((answers - centres[:, None]) ** 2) / (2 * 0.6**2))
    table /= table.sum(1, keepdims=True)
    labels = np.array([rng.choice(answers, p=row) for row in table])
    nominal, observed = interval_coverage(labels, table, answers)
    # A discrete interval covers at least what it promises, and at most one answer on each side more.
    assert (observed >= nominal - 0.02).all()
    assert (observed <= nominal + 0.15).all()


def test_maps_keep_each_samples_shape_and_tokens(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    arrays = {"a/1": rng.random((2, 3)).astype(np.float32), "b": rng.random((4, 1)).astype(np.float32)}
    tokens = {"a/1": ["so", " dull"], "b": [" 好", "", "x", "y"]}
    write_maps(tmp_path / "maps.npz", Maps({"attention": arrays}, tokens))
    found = read_maps(tmp_path / "maps.npz")
    assert list(found.arrays["attention"]) == ["a/1", "b"]
    assert (found.arrays["attention"]["a/1"] == arrays["a/1"]).all()
    assert found.tokens == tokens
    (tmp_path / "torn.npz").write_bytes((tmp_path / "maps.npz").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"torn\.npz is damaged"):
        read_maps(tmp_path / "torn.npz")


def test_a_file_that_would_inflate_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msakit.runs.diagnostic_maps.LARGEST_MAPS", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("map/a.npy", bytes(3 * 2**20))
    with pytest.raises(InputError, match=r"bomb\.npz unpacks to 1 arrays of 3,145,728 bytes"):
        read_maps(tmp_path / "bomb.npz")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (900000, 900000), }"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as archive:
        archive.writestr("map/a.npy", content)
    with pytest.raises(InputError, match=r"claim\.npz is damaged: an array of shape"):
        read_maps(tmp_path / "claim.npz")
