"""`msakit compare` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
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
    assert ["text", "0.7500", "±", "0.3536", "2", "1,351,000"] in lines
    assert ["fused[1]", "0.1500", "±", "0.0707", "2", "1,351,000"] in lines
    assert ["fused[1]", "-", "text", "MAE", "-0.6000", "[-0.6000,", "-0.6000]", "0.0196"] in lines
    assert "mosei, test split, 4 samples." in result.stdout
    assert result.stderr == ""


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
