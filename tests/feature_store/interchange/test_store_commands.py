"""`msakit store import`, `export` and `check` as a user runs them."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from feature_store.interchange.corpora import SPLIT_SIZES, mmsa_corpus, write_pickle
from typer.testing import CliRunner, Result

from msakit.cli.app import app
from msakit.feature_store import FeatureStore


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["store", *map(str, arguments)])


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    return write_pickle(tmp_path / "corpus.pkl", mmsa_corpus())


@pytest.fixture
def feats(tmp_path: Path, corpus_file: Path) -> Path:
    assert _run("import", corpus_file, "--store", tmp_path / "feats", "--dataset", "mosi").exit_code == 0
    return tmp_path / "feats"


def test_import_prints_a_table_and_says_what_it_did(tmp_path: Path, corpus_file: Path) -> None:
    done = _run("import", corpus_file, "--store", tmp_path / "feats", "--dataset", "mosi")
    assert done.exit_code == 0
    assert "train" in done.stdout
    assert "cut behind" in done.stdout
    assert "not a published file known here" in done.stderr
    assert "mosi, version 1" in done.stderr
    table = FeatureStore.open(tmp_path / "feats").table("mosi")
    assert table.splits() == SPLIT_SIZES
    assert set(table.language) == {"en"}  # from the registry's entry for mosi


def test_import_json_is_the_only_thing_on_stdout(tmp_path: Path, corpus_file: Path) -> None:
    done = _run("import", corpus_file, "--store", tmp_path / "feats", "--dataset", "mosi", "--json")
    content = json.loads(done.stdout)
    assert (content["format"], content["splits"], content["version"]) == ("mmsa", SPLIT_SIZES, 1)
    assert content["modalities"]["audio"]["width"] == 4


def test_a_dry_run_leaves_no_store(tmp_path: Path, corpus_file: Path) -> None:
    done = _run("import", corpus_file, "--store", tmp_path / "feats", "--dataset", "mosi", "--dry-run")
    assert done.exit_code == 0
    assert "Nothing written" in done.stderr
    assert not (tmp_path / "feats").exists()


def test_a_dry_run_refuses_what_the_import_would(corpus_file: Path, feats: Path) -> None:
    result = _run("import", corpus_file, "--store", feats, "--dataset", "mosi", "--dry-run")
    assert result.exit_code == 2
    assert "has a dataset 'mosi' already" in result.stderr
    replacing = _run("import", corpus_file, "--store", feats, "--dataset", "mosi", "--replace", "--dry-run")
    assert replacing.exit_code == 0
    assert FeatureStore.open(feats).versions("mosi") == [1]


def test_journals_can_be_kept_off_a_file_system_without_locks(
    tmp_path: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", _no_locks)
    command = ("import", corpus_file, "--store", tmp_path / "s", "--dataset", "corpus")
    refused = _run(*command)
    assert refused.exit_code == 2
    assert "does not support flock" in refused.stderr
    journals = tmp_path / "local"
    done = _run(*command, "--no-locks", "--wal-dir", journals)
    assert done.exit_code == 0, done.output
    assert len(FeatureStore.open(tmp_path / "s").table("corpus").id) > 0
    assert journals.is_dir()
    assert not list((tmp_path / "s").rglob("*.wal"))


def _no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_bad_input_is_exit_code_2_without_a_traceback(tmp_path: Path) -> None:
    corpus = mmsa_corpus()
    corpus["train"]["audio"][0, 0, 0] = -np.inf
    bad = write_pickle(tmp_path / "bad.pkl", corpus)
    for arguments, message in (
        ((bad,), "1 -inf in 1 samples"),
        ((tmp_path / "absent.pkl",), "absent.pkl"),
        ((bad, "--format", "xls"), "--format 'xls' is unknown"),
        ((bad, "--column", "text"), "KEY=VALUE is expected"),
        ((bad, "--dataset", "a/b"), "a/b"),
        ((bad, "--modality", "smell", "--nonfinite", "zero"), "no 'smell' features"),
    ):
        done = _run("import", "--store", tmp_path / "feats", "--dataset", "mosi", *arguments)
        assert done.exit_code == 2, done.stderr
        assert message in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert not (tmp_path / "feats").exists()


def test_export_round_trip(tmp_path: Path, feats: Path) -> None:
    done = _run("export", feats, tmp_path / "out.pkl")
    assert done.exit_code == 0
    assert "6 x 9 x 4" in done.stdout
    again = _run("import", tmp_path / "out.pkl", "--store", feats, "--dataset", "mosi", "--replace", "--json")
    assert json.loads(again.stdout)["num_stored"] == 0
    assert _run("export", feats, tmp_path / "out.pkl").exit_code == 2


def test_export_single_file_opens_as_a_store(tmp_path: Path, feats: Path) -> None:
    done = _run("export", feats, tmp_path / "all.h5", "--single-file", "--json")
    assert json.loads(done.stdout) == {"file": str(tmp_path / "all.h5"), "datasets": ["mosi"]}
    store = FeatureStore.open(tmp_path / "all.h5")
    assert store.table("mosi").splits() == SPLIT_SIZES


def test_check_is_clean_then_fails_with_exit_code_1(tmp_path: Path, feats: Path) -> None:
    clean = _run("check", feats, "mosi", "--json")
    assert clean.exit_code == 0
    assert json.loads(clean.stdout)[0]["errors"] == 0
    strict = _run("check", feats, "--label-range", "-0.1,0.1")
    assert strict.exit_code == 1
    assert "label-range" in strict.stdout
    assert _run("check", feats, "--label-range", "wide").exit_code == 2
    assert _run("check", feats, "mosei").exit_code == 2


def test_help_ends_with_an_example() -> None:
    for command in ("import", "export", "check"):
        done = _run(command, "--help")
        assert done.exit_code == 0
        assert f"msakit store {command}" in done.stdout.strip().splitlines()[-1]
