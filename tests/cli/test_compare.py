"""`msakit compare` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from run_folders import write_run
from typer.testing import CliRunner

from msakit.cli.compare import app
from msakit.core.errors import InputError

LABELS = [2.0, -1.0, 0.5, -2.5]


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    parameters = {"parameters": {"trainable": 1_351_000, "total": 5}}
    for name, errors in (("text", (1.0, 0.5)), ("fused[1]", (0.1, 0.2))):
        for seed, error in enumerate(errors):
            write_run(
                tmp_path / name / f"seed-{seed}", [y + error for y in LABELS], LABELS, seed=seed, **parameters
            )
    return [str(tmp_path / name) for name in ("text", "fused[1]")]


def test_the_table_has_both_runs_their_difference_and_its_legend(runs: list[str]) -> None:
    result = CliRunner().invoke(app, [*runs, "--metric", "mae", "--resamples", "50"])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["text", "0.750", "±", "0.354", "2"] in lines
    assert ["fused[1]", "0.150", "±", "0.071", "2"] in lines
    assert ["text", "0.750", "[0.750,", "0.750]", "reference"] in lines
    tested = ["fused[1]", "0.150", "[0.150,", "0.150]", "-0.600", "[-0.600,", "-0.600]", "0.0196"]
    assert tested in lines
    assert "mosei, test split, 4 samples." in result.stdout
    assert result.stderr == ""


def test_at_80_columns_no_number_is_broken_and_all_shows_the_rest(
    runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    narrow = Console(width=80, file=shown, highlight=False)
    monkeypatch.setattr("msakit.cli.render.data_console", lambda: narrow)
    assert CliRunner().invoke(app, [*runs, "--resamples", "50"]).exit_code == 0
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[-4:] == ["-0.600", "[-0.600,", "-0.600]", "0.0196"] for line in lines)
    assert any("fused[1]" in line and "0.150 ± 0.071" in line for line in lines)
    shown.truncate(0)
    assert CliRunner().invoke(app, [*runs, "--all", "--resamples", "0"]).exit_code == 0
    assert "Acc-7" in shown.getvalue()


def test_files_beside_the_runs_of_a_grid_are_passed_over(runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    result = CliRunner().invoke(app, [*runs, str(tmp_path / "report.html"), "--resamples", "0", "--json"])
    assert [row["name"] for row in json.loads(result.stdout)["rows"]] == ["text", "fused[1]"]


@pytest.mark.parametrize("arguments", [["--json"], ["--format", "json"]])
def test_json_goes_to_stdout_alone(runs: list[str], arguments: list[str]) -> None:
    result = CliRunner().invoke(app, [*runs, "--resamples", "20", *arguments])
    content = json.loads(result.stdout)
    assert [row["name"] for row in content["rows"]] == ["text", "fused[1]"]
    assert content["rows"][1]["estimates"]["mae"]["mean"] == pytest.approx(0.15)


def test_csv_markdown_and_latex(runs: list[str]) -> None:
    def output(name: str) -> str:
        return CliRunner().invoke(app, [*runs, "--resamples", "0", "--format", name]).stdout

    rows = list(csv.DictReader(io.StringIO(output("csv"))))
    assert {row["name"] for row in rows} == {"text", "fused[1]"}
    assert output("markdown").startswith("|  | MAE |")
    assert output("latex").rstrip().endswith(r"\end{tabular}")


def test_errors_are_the_users_to_act_on(runs: list[str], tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", [0.0], [1.0], dataset="mosi")
    result = CliRunner().invoke(app, [runs[0], str(other)])
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2
    assert "mosi" in str(result.exception)


def test_help_ends_with_an_example() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).stdout
    assert text.rstrip().endswith("Example: msakit compare runs/text-only runs/tgm --metric mae --published")
