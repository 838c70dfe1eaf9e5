"""`msakit report` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

from run_folders import write_run
from typer.testing import CliRunner

from msakit.cli.report import app


def test_the_report_lands_in_the_run_and_its_path_on_stdout(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [0.5, 1.0], [0.5, 0.0])
    result = CliRunner().invoke(app, [str(run)])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(run / "report.html")
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_another_file_and_another_split(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [0.5], [0.5])
    write_run(run, [0.5, 1.0], [0.5, 0.0], split="valid")
    target = tmp_path / "a" / "b.html"
    result = CliRunner().invoke(app, [str(run), "-o", str(target), "--split", "valid", "--json"])
    assert json.loads(result.stdout) == {"report": str(target)}
    assert "valid split, 2 samples" in target.read_text(encoding="utf-8")
