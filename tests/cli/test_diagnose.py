"""`msakit diagnose` as a user meets it."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.diagnose import app
from msakit.cli.train import app as train
from tests.conftest import tiny_pipeline

ENCODERS = {
    "cmpta": {name: {"name": "bilstm", "hidden_size": 8, "output_size": 16} for name in ("audio", "vision")},
    "egmf": {name: {"name": "av", "hidden_size": 8, "output_size": 16} for name in ("audio", "vision")},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, store):
    """A run of a fuser with maps, and one of a fuser with a gate."""
    folder = tmp_path_factory.mktemp("diagnose")
    for fuser, injector in (("cmpta", "pseudo6"), ("egmf", "repeat2")):
        file = folder / f"{fuser}.yaml"
        changes = {"fuser": fuser, "injector": injector, "encoders": ENCODERS[fuser]}
        changes["prompt"] = {"max_text_tokens": 3}
        file.write_text(yaml.safe_dump(tiny_pipeline(**changes)))
        arguments = [
            str(file),
            "--store",
            str(store),
            "-o",
            str(folder / fuser),
            "--set",
            "training.epochs=1",
        ]
        result = CliRunner().invoke(train, arguments)
        assert result.exit_code == 0, result.output
    return folder


def test_a_gate_and_experts_are_diagnosed(runs):
    result = CliRunner().invoke(app, [str(runs / "egmf"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    streams = [tuple(one["streams"]) for one in found["dependency"]]
    assert streams[0] == ("text", "audio", "vision")
    assert set(streams) == {
        ("text", "audio", "vision"), ("audio", "vision"), ("text", "vision"), ("text", "audio"),
        ("vision",), ("audio",), ("text",),
    }  # fmt: skip
    official = json.loads((runs / "egmf" / "metrics.json").read_text())["splits"]["test"]["mae"]
    assert found["dependency"][0]["metrics"]["mae"] == pytest.approx(official)
    assert found["weights"]["alpha"]["mean"].keys() == {"local", "semantic", "global"}
    assert sum(found["weights"]["alpha"]["mean"].values()) == pytest.approx(1.0, abs=1e-5)
    assert "local and global" in found["scalars"]["expert_cosine"]
    assert 0 < found["survival"] <= 1 + 1e-9
    assert found["truncation"]["share"] > 0
    assert any("cut to 3 tokens" in complaint for complaint in found["complaints"])
    assert json.loads((runs / "egmf" / "diagnosis" / "diagnosis.json").read_text()) == found
    drawn = {path.stem for path in (runs / "egmf" / "diagnosis").glob("*.svg")}
    assert drawn == {"modalities", "alpha", "expert_cosine", "effective_experts"}
    assert "semantic" in (runs / "egmf" / "diagnosis" / "alpha.svg").read_text()


def test_attention_is_drawn_and_a_table_printed(runs, tmp_path):
    result = CliRunner().invoke(app, [str(runs / "cmpta"), "--samples", "6", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "text + audio + vision" in result.stdout
    assert "test split, 6 samples" in result.stdout
    assert (tmp_path / "out" / "attention.svg").is_file()
    assert not (runs / "cmpta" / "diagnosis").exists()
    found = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    for profile in found["attention"].values():
        assert sum(profile) == pytest.approx(1.0, abs=1e-5)
