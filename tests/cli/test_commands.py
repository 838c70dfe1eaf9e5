"""The commands, as a user types them."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.cli.commands import COMMANDS, load_command
from tests.conftest import fill_store, tiny_pipeline

HEAVY = ("torch", "transformers", "peft", "h5py", "accelerate")


def run(*arguments):
    """Exit code, stdout and stderr of a command line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def pipeline_file(tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tiny_pipeline()))
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store and a run on it."""
    folder = tmp_path_factory.mktemp("cli")
    store = fill_store(folder / "store")
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tiny_pipeline()))
    code, _, stderr = run("train", file, "--store", store, "-o", folder / "run")
    assert code == 0, stderr
    return folder / "run", store


@pytest.mark.parametrize(
    "arguments", [["--help"], ["components", "list"], ["components", "show", "tgm"], ["build", "--help"]]
)
def test_light_commands_import_nothing_heavy(arguments):
    program = (
        "import sys\nfrom msakit.cli.app import app\n"
        f"try: app({arguments!r}, standalone_mode=False)\nexcept SystemExit: pass\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("heavy: []")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_an_example(name):
    command = load_command(name)
    parts = getattr(command, "commands", None) or {name: command}
    for part in parts.values():
        assert (part.epilog or "").startswith("Example: msakit "), part.name
        assert part.help


def test_build_writes_a_complete_pipeline_and_exact_counts(tmp_path):
    file = tmp_path / "pipeline.yaml"
    code, stdout, _ = run(
        "build", "--fuser", "tgm", "--injector", "pseudo4", "--backbone", "qwen-1.8b", "--dataset", "mosei",
        "--set", "encoders.audio.hidden_size=64", "--set", "encoders.vision.hidden_size=32",
        "-o", file, "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(stdout)["trainable"] == 1351244
    assert yaml.safe_load(file.read_text())["backbone"]["name"] == "qwen-1.8b"
    code, _, stderr = run("build", "-o", file)
    assert code == 2
    assert "--force" in stderr


def test_build_takes_a_recipe_apart():
    code, stdout, _ = run(
        "build", "--recipe", "mse-adapter", "--dataset", "meld", "--backbone", "chatglm3-6b", "--json"
    )
    assert code == 0
    content = json.loads(stdout)
    assert content["trainable"] == 2632844
    assert content["pipeline"]["training"]["learning_rate"] == 5e-5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["build", "--fuser", "tmg"], "Did you mean: tgm"),
        (["build", "--set", "training.lr=1"], "training.lr: unknown key"),
        (["build", "--set", "nonsense"], "KEY=VALUE is expected"),
        (["build", "--fuser", "cmpta", "--encoder", "lstm"], "needs a sequence"),
        (["build", "--encoder", "pulse=lstm"], "no such modality"),
        (["build", "--recipe", "mse-adaptor"], "Did you mean: mse-adapter"),
        (["components", "show", "nothing_like_it"], "msakit components list"),
        (["components", "list", "mixer"], "Unknown section"),
        (["train", "no.yaml", "--store", "s"], "no.yaml cannot be read"),
        (["evaluate", "no_run"], "is not a run"),
        (["predict", "no_run"], "Nothing to predict"),
        (["plugins", "new", "Not A Name"], "not a lower-case Python name"),
        (["--registry", "no.yaml", "components", "list"], "no.yaml cannot be read"),
        (["--plugin", "no.py", "components", "list"], "no such file"),
    ],
)
def test_bad_input_gets_a_message_and_exit_code_2(arguments, expected, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run(*arguments)
    assert code == 2
    assert expected in " ".join(stderr.split())
    assert "Traceback" not in stderr
    assert stdout == ""


def test_a_traceback_is_shown_on_request():
    code, _, stderr = run("--traceback", "build", "--fuser", "tmg")
    assert code == 2
    assert "Traceback" in stderr


def test_train_evaluate_predict(trained):
    folder, _ = trained
    code, stdout, _ = run("evaluate", folder, "--split", "valid", "--split", "test", "--json")
    assert code == 0
    metrics = json.loads((folder / "metrics.json").read_text())["splits"]
    assert {split: values["mae"] for split, values in json.loads(stdout)["splits"].items()} == {
        split: metrics[split]["mae"] for split in ("valid", "test")
    }
    code, stdout, _ = run("predict", folder, "--id", "s003", "--id", "s000", "--json")
    first, second = json.loads(stdout)
    rows = dict(
        line.split(",")[0:3:2] for line in (folder / "predictions.test.csv").read_text().splitlines()[1:]
    )
    assert first["prediction"] == pytest.approx(float(rows["s003"]))
    assert second["absent"] == ["vision"]
    assert sum(chance for _, chance in first["likeliest"]) <= 1


def test_a_modality_taken_away_changes_predictions_and_is_kept_apart(trained):
    folder, _ = trained
    before = (folder / "metrics.json").read_bytes()
    for how in ("audio", "audio=mean", "text=shuffled", "text"):
        code, stdout, _ = run("evaluate", folder, "--without", how, "--json")
        assert code == 0
        assert json.loads(stdout)["condition"].startswith("without ")
    assert (folder / "metrics.json").read_bytes() == before
    assert {path.name for path in (folder / "evaluations").glob("without-*")} >= {
        "without-audio-absent", "without-audio-mean", "without-text-shuffled", "without-text-absent"
    }  # fmt: skip
    code, _, stderr = run("evaluate", folder, "--without", "pulse")
    assert code == 2
    assert "text, audio, vision" in stderr
    code, _, stderr = run("evaluate", folder, "--without", "audio=softly")
    assert (code, "absent, mean, shuffled" in stderr) == (2, True)


def test_modalities_go_missing_from_a_share_of_the_samples(trained):
    folder, _ = trained
    code, stdout, _ = run("evaluate", folder, "--missing", "audio=0.5,text=0.3", "--seed", "3", "--json")
    assert code == 0
    found = json.loads(stdout)
    assert found["condition"] == "without audio (absent in 0.5, seed 3), without text (absent in 0.3, seed 3)"
    table = Path(found["folders"]["test"]) / "predictions.test.csv"
    with table.open(encoding="utf-8", newline="") as stream:
        absent = [row["absent"].split() for row in csv.DictReader(stream)]
    assert 0 < sum("audio" in streams for streams in absent) < len(absent)
    for wrong, told in (
        ("audio=often", "audio=0.3"),
        ("audio=2", "from 0 to 1"),
        ("pulse=0.5", "no modality"),
    ):
        code, _, stderr = run("evaluate", folder, "--missing", wrong)
        assert (code, told in " ".join(stderr.split())) == (2, True)


def test_generated_answers_that_cannot_be_read_are_missing_not_zero(trained):
    folder, _ = trained
    code, stdout, _ = run("evaluate", folder, "--decode", "generate", "--json")
    metrics = json.loads(stdout)["splits"]["test"]
    assert code == 0
    assert metrics["missing_share"] > 0
    assert metrics["zero_share"] == 0


def test_an_official_result_is_never_replaced(trained):
    """Whatever is evaluated afterwards: the run's own files stay, to the byte."""
    folder, store = trained
    own = {path: path.read_bytes() for path in folder.glob("*.*") if path.suffix in (".json", ".csv")}
    copied = shutil.copytree(store, store.parent / "copy", dirs_exist_ok=True)
    for arguments, name in (
        (["--decode", "generate"], "decode-generate"),
        (["--store", copied], "store-"),
        ([], "repeated"),
        (["--without", "audio", "--without", "vision=mean"], "without-audio-absent-without-vision-mean"),
    ):
        code, stdout, stderr = run("evaluate", folder, *arguments, "--json")
        assert code == 0, stderr
        report = json.loads(stdout)
        place = Path(report["folders"]["test"])
        assert place.parent == folder / "evaluations"
        assert place.name.startswith(name)
        assert {path.name for path in place.iterdir()} >= {"metrics.json", "predictions.test.csv"}
        assert {path: path.read_bytes() for path in own} == own
    assert report["condition"] == "without audio (absent), without vision (mean)"
    assert "equal to the recorded result" in run("evaluate", folder)[2]
    code, stdout, _ = run("evaluate", folder, "--split", "train", "--json")
    assert json.loads(stdout)["folders"] == {"train": str(folder)}
    changed = {path for path in own if path.read_bytes() != own[path]}
    assert {path.name for path in changed} == {"metrics.json"}
    splits = json.loads((folder / "metrics.json").read_text())["splits"]
    assert {"train", "valid", "test"} == splits.keys()
    assert splits["test"] == json.loads(own[folder / "metrics.json"])["splits"]["test"]


def test_folders_of_seeds_are_taken_as_runs_are(tmp_path, store, pipeline_file):
    folder = tmp_path / "several"
    arguments = ["train", pipeline_file, "--store", store, "-o", folder, "--set", "training.epochs=1"]
    assert run(*arguments, "--seeds", "2")[0] == 0
    code, stdout, _ = run("evaluate", folder, "--without", "text", "--json")
    assert code == 0
    assert json.loads(stdout).keys() == {"seed-1111", "seed-2222"}
    code, stdout, stderr = run("predict", folder, "--id", "s003", "--json")
    assert (code, len(json.loads(stdout))) == (0, 1)
    assert "seed-1111" in stderr
    code, _, stderr = run(*arguments)
    assert (code, "runs of several seeds: seed-1111, seed-2222" in stderr) == (2, True)
    assert not (folder / "pipeline.yaml").exists()
    code, _, stderr = run(*arguments[:5], folder / "seed-1111", "--seeds", "2")
    assert (code, "is a run itself" in stderr) == (2, True)


def test_an_evaluation_is_compared_like_a_run(trained):
    folder, _ = trained
    run("evaluate", folder, "--without", "audio")
    code, stdout, _ = run(
        "compare", folder, folder / "evaluations" / "without-audio-absent", "--metric", "mae", "--json"
    )
    assert code == 0
    first, second = (row["estimates"]["mae"]["mean"] for row in json.loads(stdout)["rows"][:2])
    assert json.loads(stdout)["differences"][0]["difference"] == pytest.approx(second - first)


def test_a_missing_sample_or_store_is_named(trained, tmp_path):
    folder, _ = trained
    code, _, stderr = run("predict", folder, "--id", "s999")
    assert (code, "no sample 's999'" in stderr) == (2, True)
    code, _, stderr = run("evaluate", folder, "--store", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in stderr


def test_training_twice_into_one_folder_is_refused(trained, pipeline_file):
    folder, store = trained
    code, _, stderr = run("train", pipeline_file, "--store", store, "-o", folder)
    assert code == 2
    assert "--resume" in stderr


def test_inspect_shows_the_literal_layout(pipeline_file):
    code, stdout, _ = run("inspect", "prompt", pipeline_file, "--text", "so dull", "--json")
    assert code == 0
    content = json.loads(stdout)
    assert [piece["role"] for piece in content["pieces"]] == [
        "start",
        "open tag",
        "pseudo",
        "text",
        "close tag",
        "task",
    ]
    assert content["pieces"][2]["tokens"] == 2
    assert len(content["answers"]) == 61


@pytest.fixture(scope="module")
def attentive(tmp_path_factory):
    """A run whose fuser shows attention maps."""
    folder = tmp_path_factory.mktemp("attentive")
    file = folder / "pipeline.yaml"
    encoders = {name: {"name": "bilstm", "hidden_size": 8, "output_size": 16} for name in ("audio", "vision")}
    file.write_text(yaml.safe_dump(tiny_pipeline(encoders=encoders, fuser="cmpta", injector="pseudo6")))
    store = fill_store(folder / "store")
    assert run("train", file, "--store", store, "-o", folder / "run")[0] == 0
    return folder / "run"


def test_inspect_sample_shows_and_draws_what_the_fuser_attends_to(attentive, tmp_path):
    code, stdout, stderr = run("inspect", "sample", attentive, "s007", "--json", "-o", tmp_path / "maps")
    assert code == 0, stderr
    shown = json.loads(stdout)
    assert "".join(shown["tokens"]) == "one of the worst things I saw"
    for modality in ("audio", "vision"):
        weights = shown["diagnostics"][f"attention_text_{modality}"]
        assert len(weights) == len(shown["tokens"])
        assert [sum(row) for row in weights] == pytest.approx([1.0] * len(weights), abs=1e-5)
        drawn = (tmp_path / "maps" / f"s007_text_over_{modality}.svg").read_text()
        assert "seconds" in drawn
    assert "attention_text_audio" in run("inspect", "sample", attentive, "s007")[1]


def test_inspect_sample_says_what_is_wrong(attentive, trained, tmp_path):
    code, _, stderr = run("inspect", "sample", attentive, "nobody")
    assert code == 2
    assert "no sample 'nobody'" in stderr
    code, _, stderr = run("inspect", "sample", trained[0], "s007", "-o", tmp_path / "maps")
    assert code == 2
    assert "shows no attention map" in stderr
    assert not (tmp_path / "maps").exists()


def test_sweep_runs_a_grid_on_the_validation_split_and_resumes(tmp_path, store, monkeypatch):
    study = tmp_path / "study.yaml"
    grid = {"pipeline": tiny_pipeline(), "grid": {"injector": ["pseudo2", "pseudo3"]}, "seeds": [1, 2]}
    study.write_text(yaml.safe_dump(grid))
    arguments = ["sweep", study, "--store", store, "-o", tmp_path / "runs", "--json"]
    code, stdout, _ = run(*arguments)
    assert code == 0
    systems = json.loads(stdout)["splits"]["valid"]["systems"]
    assert set(systems) == {"injector=pseudo2", "injector=pseudo3"}
    assert len(systems["injector=pseudo2"]["mae"]["values"]) == 2
    assert not list((tmp_path / "runs").rglob("predictions.test.csv"))
    monkeypatch.setattr(
        "msakit.workflows.study.train_run", lambda *_, **__: pytest.fail("a finished run was trained again")
    )
    assert run(*arguments)[1] == stdout


def test_a_grid_cannot_reach_the_test_split(tmp_path, store):
    study = tmp_path / "study.yaml"
    study.write_text(
        yaml.safe_dump({"pipeline": tiny_pipeline(), "grid": {"fuser": ["tgm"]}, "splits": ["test"]})
    )
    code, _, stderr = run("sweep", study, "--store", store)
    assert code == 2
    assert "validation split alone" in " ".join(stderr.split())


def test_a_new_plugin_works_as_it_is_written(tmp_path):
    code, stdout, _ = run("plugins", "new", "my_fuser", "--folder", tmp_path)
    assert code == 0
    plugin = next(path for path in stdout.split() if path.endswith("plugin.py"))
    code, stdout, stderr = run(
        "--plugin", plugin, "build", "--fuser", "my_fuser", "--backbone", "tiny", "--json"
    )
    assert code == 0, stderr
    fuser = next(part for part in json.loads(stdout)["parts"] if part["part"] == "fuser")
    assert fuser == {
        "part": "fuser",
        "component": "my_fuser.my_fuser@1",
        "trainable": fuser["trainable"],
        "source": "(the paper it follows)",
    }
    code, _, stderr = run("plugins", "new", "my_fuser", "--folder", tmp_path)
    assert (code, "exists" in stderr) == (2, True)


def test_train_takes_names_in_place_of_a_file(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = ["--dataset", "demo", "--fuser", "cmpta", "--injector", "pseudo2", "--backbone", "tiny"]
    code, stdout, stderr = run("train", *parts, "--store", store, "--set", "training.epochs=1", "--json")
    assert code == 0, stderr
    assert "test" in json.loads(stdout)["splits"]
    written = (tmp_path / "runs" / "demo-cmpta" / "pipeline.yaml").read_text()
    assert "cmpta.cmpta@" in written
    code, _, stderr = run("train", "--dataset", "nope", "--store", store)
    assert (code, "has no dataset 'nope'" in stderr) == (2, True)
