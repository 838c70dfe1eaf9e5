"""Runs shared through the hub: the hub's own client against a hub on this computer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import TOKEN, hub
from typer.testing import CliRunner

import msakit
from msakit.cli.app import app
from tests.conftest import WIDTHS

THERE_AND_BACK = """
import json, sys
import msakit
from msakit.cli.app import app
app(["push", sys.argv[1], "my-lab/tgm", "--private"], standalone_mode=False)
app(["pull", "my-lab/tgm", "-o", "theirs"], standalone_mode=False)
app(["verify", "my-lab/tgm"], standalone_mode=False)
run, original = msakit.load("my-lab/tgm"), msakit.load(sys.argv[1])
answers = [each.predict(text="a wonderful film") for each in (run, original)]
print(json.dumps([str(run.path), *([each.prediction, each.likeliest] for each in answers)]))
"""
LOCATE = """
import sys
from msakit.core.errors import MsakitError
from msakit.runs.location import locate_run
print(locate_run("my-lab/tgm"))
try:
    locate_run("my-lab/other")
except MsakitError as error:
    print(error.exit_code, error)
"""


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    settings = {"training.epochs": 1, "training.batch_size": 8}
    settings |= {f"encoders.{name}.hidden_size": 8 for name in WIDTHS}
    choices = {"dataset": "demo", "injector": "pseudo2", "backbone": "tiny", "store": str(store)}
    output = tmp_path_factory.mktemp("shared") / "run"
    return msakit.train(msakit.build(**choices, settings=settings), store=store, output=output)


@pytest.fixture
def call(tmp_path):
    """Run Python code or a command as a user of this hub, with an empty cache of its own."""

    def called(*arguments, address, **environment):
        known = {"HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN, "HF_ENDPOINT": address, **environment}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env={**kept, **known}, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return called


def test_a_run_goes_to_the_hub_and_comes_back(trained, call, tmp_path):
    with hub() as server:
        server.repositories["my-lab/tgm"] = {
            "own.py": b"raise SystemExit",
            "adapter/lora/adapter_model.bin": b"\x80\x04N.",
        }
        done = call("-c", THERE_AND_BACK, trained.path, address=server.address)
    assert done.returncode == 0, done.stderr
    address, pulled, loaded = done.stdout.splitlines()
    assert (address, pulled) == (f"{server.address}/my-lab/tgm", "theirs")
    assert server.created[0]["visibility"] == "private"
    assert "adapter/adapter.safetensors" in server.repositories["my-lab/tgm"]
    # Both in one process: in another, with other threads, the last digits differ.
    folder, fetched, original = json.loads(loaded)
    assert fetched == original
    verified = re.search(r"(\d+) of (\d+) as recorded", done.stderr)
    assert verified is not None
    assert int(verified[1]) == int(verified[2]) > 10
    expected = trained.predict(text="a wonderful film")
    assert msakit.load(tmp_path / "theirs").predict(text="a wonderful film") == expected
    assert not [path for path in tmp_path.rglob("*") if path.name in ("own.py", "adapter_model.bin")]

    # The hub is gone: what was fetched is used, what was not is named.
    located = call("-c", LOCATE, address=server.address).stdout
    assert located.splitlines()[0] == folder
    told = " ".join(located.split())
    assert (
        "1 'my-lab/other' is not on this computer and could not be fetched from the Hugging Face hub" in told
    )
    assert "give the path" in told


def test_without_a_token_nothing_is_pushed(trained, call):
    with hub() as server:
        refused = call(
            "-m", "msakit", "push", trained.path, "my-lab/tgm", address=server.address, HF_TOKEN="hf_none"
        )
    assert (refused.returncode, server.repositories) == (1, {})
    assert "hf auth login" in refused.stderr
    assert "Traceback" not in refused.stderr


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["nothing", "runs/nothing", "/nothing/here", "a/b/c"])
def test_a_mistyped_folder_is_never_looked_for_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "a").mkdir()
    code, _, stderr = run("predict", name, "--text", "x")
    assert code == 2
    assert f"There is no run '{name}' here." in stderr
    assert "hf:ORG/NAME" in stderr


def test_a_run_can_be_written_and_looked_at_first(trained, tmp_path):
    out = tmp_path / "out"
    code, stdout, stderr = run("push", trained.path, "hf:my-lab/tgm", "-o", out)
    assert (code, stdout.strip()) == (0, str(out))
    assert f"hf upload my-lab/tgm {out}" in stderr
    assert 'msakit.load("my-lab/tgm")' not in (out / "README.md").read_text()  # its features were imported
    assert run("push", trained.path, "my-lab")[0] == 2
    assert run("push", trained.path, "my-lab/tgm@main")[0] == 2
    assert run("pull", "my-lab/tgm", "-o", out)[0] == 2
    shutil.rmtree(out)


def test_the_python_face_saves_too(trained, tmp_path):
    folder = trained.save_pretrained(str(tmp_path / "out"), repository="my-lab/tgm")
    assert isinstance(folder, Path)
    assert msakit.load(folder).metrics == trained.metrics
