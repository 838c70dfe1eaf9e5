"""What holds for every command: words for values, one JSON document, tables that fit, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from run_folders import write_run
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.cli.commands import COMMANDS, load_command
from msakit.cli.completion import runs, stores
from msakit.cli.render import print_table
from tests.conftest import fill_store, tiny_pipeline

LONG = "a-system-with-quite-a-long-name"


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def commands(name, command):
    children = getattr(command, "commands", None)
    for key, child in (children or {}).items():
        yield from commands(f"{name} {key}", child)
    if not children:
        yield name, command


ALL = [pair for name in COMMANDS for pair in commands(name, load_command(name))]


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_values_are_called_by_words(name, command):
    result = run(*name.split(), "--help")
    assert "<path>" not in result.stdout.partition("Options:")[2]
    assert "<str>" not in result.stdout.partition("Options:")[2]
    shown = {parameter.name: parameter.metavar for parameter in command.params}
    assert shown.get("store", "STORE") == "STORE"
    assert shown.get("run", "RUN") == "RUN"
    assert shown.get("pipeline", "PIPELINE") == "PIPELINE"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return fill_store(tmp_path_factory.mktemp("conventions") / "store")


def test_a_planned_study_is_one_json_document(tmp_path, store):
    study = {"title": "t", "pipeline": tiny_pipeline(), "systems": {"one": {}, "two": {}}, "seeds": [1, 2]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**study, "splits": ["valid"]}))
    output = tmp_path / "runs"
    result = run("sweep", tmp_path / "study.yaml", "--store", store, "-o", output, "--dry-run", "--json")
    planned = json.loads(result.stdout)["runs"]
    assert [(each["system"], each["seed"], each["state"]) for each in planned] == [
        ("one", 1, "to do"), ("two", 1, "to do"), ("one", 2, "to do"), ("two", 2, "to do"),
    ]  # fmt: skip
    assert not output.exists()


def test_several_seeds_are_one_json_document(tmp_path, store):
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tiny_pipeline()))
    arguments = ("--set", "training.epochs=1", "--seeds", 2, "--json")
    records = json.loads(run("train", file, "--store", store, "-o", tmp_path / "run", *arguments).stdout)
    assert [record["seed"] for record in records.values()] == [1111, 2222]
    assert list(records) == ["seed-1111", "seed-2222"]


def test_the_check_of_plugins_is_json_too(monkeypatch):
    monkeypatch.setenv("MSAKIT_PLUGINS", "")
    checked = json.loads(run("plugins", "check", "--json").stdout)
    assert checked["problems"] == []
    assert checked["components"] > checked["plugins"] > 0


def test_a_table_that_is_too_wide_goes_on_below(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    numbers = [f"metric{index}" for index in range(9)]
    row = [LONG, *["0.123 ± 0.045"] * 9]
    print_table("Results", ("system", *numbers), [row], right=numbers)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(lines)
    assert all(shown.count(name) == 1 for name in numbers)
    assert shown.count("0.123 ± 0.045") == 9
    assert sum(line.startswith("system") for line in lines) == sum(not line.strip() for line in lines) + 1


def test_tables_show_shares_as_files_do(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    splits = {"test": {"mae": 0.5, "acc2_has0": 0.75}}
    folders = [
        write_run(tmp_path / name, [1.0, -1.0, 2.0, 1.0], [1.0, -1.0, 1.0, -1.0], splits=splits, seed=1)
        for name in (LONG, "other")
    ]
    result = run("compare", *folders, "--all", "--resamples", 20)
    assert max(map(len, result.stdout.partition("test split")[0].splitlines()[:-1])) <= 80
    assert "0.750" in result.stdout
    assert "75.00" not in result.stdout


def test_it_is_said_where_nothing_was_published(tmp_path):
    folder = write_run(tmp_path / "run", [1.0, -1.0], [1.0, -1.0], dataset="mine")
    result = run("compare", folder, "--published", "--resamples", 0)
    assert "No published figures are registered for mine." in result.stderr
    folder = write_run(tmp_path / "known", [1.0, -1.0], [1.0, -1.0])
    result = run("compare", folder, "--published", "--resamples", 0)
    assert "No published figures" not in result.stderr


def test_a_backbone_that_does_not_read_the_corpus_is_warned_of():
    parts = ("--fuser", "tgm", "--injector", "pseudo4", "--backbone")
    result = run("build", "--dataset", "sims", *parts, "smollm2-135m")
    assert result.exit_code == 0
    assert "'smollm2-135m' reads en, and 'sims' is in zh." in result.stderr
    assert "qwen-1.8b" in result.stderr
    assert "Warning" not in run("build", "--dataset", "sims", *parts, "qwen-1.8b").stderr
    assert "Warning" not in run("build", "--dataset", "mosei", *parts, "smollm2-135m").stderr


def test_an_import_prints_what_a_registry_file_would_say(tmp_path):
    (tmp_path / "mine.csv").write_text(
        "id,text,label,split\na,good,1.5,train\nb,bad,-2.5,train\nc,fine,0.5,valid\nd,poor,-1,test\n"
    )
    store = tmp_path / "feats"
    result = run("store", "import", tmp_path / "mine.csv", "--store", store, "--dataset", "mine")
    entry = yaml.safe_load("datasets:" + result.stderr.partition("datasets:")[2])
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(entry))
    shown = run("--registry", tmp_path / "registry.yaml", "components", "show", "mine", "--json")
    assert json.loads(shown.stdout)["label_range"] == [-3.0, 3.0]
    again = run("store", "import", tmp_path / "mine.csv", "--store", store, "--dataset", "mosi")
    assert "datasets:" not in again.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["train", "--fuser", "tg"], {"tgm"}),
        (["train", "--encoder", "audio=bi"], {"audio=bilstm"}),
        (["build", "--injector", "ps"], {"pseudo"}),
        (["build", "--backbone", "smol"], {"smollm2-135m"}),
        (["build", "--dataset", "sim"], {"sims", "simsv2"}),
        (["build", "--recipe", "mse"], {"mse-adapter"}),
        (["compare", "--metric", "weighted"], {"weighted_f1"}),
        (["components", "show", "cmp"], {"cmpta"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_shell_completes_names(words, wanted):
    line = ["msakit", *words]
    environment = {
        **os.environ,
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
        "_MSAKIT_COMPLETE": "complete_bash",
        "MSAKIT_PLUGINS": "",
    }
    program = "from msakit.cli.app import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert set(result.stdout.split()) == wanted, result.stderr


def test_runs_and_stores_are_completed_by_what_is_there(tmp_path, monkeypatch, store):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/one", "runs/two/seed-1", "elsewhere/three"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "pipeline.yaml").touch()
    assert runs("") == ["runs/one", "runs/two", "runs/two/seed-1"]
    assert runs("runs/o") == ["runs/one"]
    assert runs("elsewhere/") == ["elsewhere/three"]
    (tmp_path / "data.h5").touch()
    assert stores("d") == ["data.h5", "demo"]
    assert stores(f"{store.parent}/") == [str(store)]
    assert stores("no/such/folder") == []
