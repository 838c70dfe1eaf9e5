"""`msakit store` end to end, as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from feature_store.known_stores import AUDIO, NAMES, VISION, key_of, values_of
from typer.testing import CliRunner, Result

from msakit.cli.store import app
from msakit.feature_store import FeatureStore, StoreError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_json(*arguments: object, exit_code: int = 0) -> object:
    result = run(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def test_ls_lists_datasets_and_feature_sets(store: FeatureStore) -> None:
    content = run_json("ls", store.path)
    [dataset] = content["datasets"]
    assert dataset == {
        "dataset": "demo",
        "version": 1,
        "samples": 12,
        "splits": {"train": 6, "valid": 3, "test": 3},
        "present": {"audio": 12, "vision": 11},
    }
    by_modality = {item["modality"]: item for item in content["feature_sets"]}
    assert by_modality["vision"]["fingerprint"] == VISION.fingerprint
    frames = sum(len(values_of(name, 3)) for name in NAMES if name != "clip03")
    assert by_modality["vision"]["bytes"] == frames * 3 * 2 + 0
    assert (by_modality["audio"]["samples"], by_modality["audio"]["shards"]) == (12, 1)
    text = run("ls", store.path)
    assert text.exit_code == 0
    assert "prosody@1" in text.stdout
    assert "train:6 valid:3 test:3" in text.stdout


def test_info_shows_settings_and_provenance(store: FeatureStore) -> None:
    content = run_json("info", store.path, AUDIO.fingerprint[:6])
    lengths = [len(values_of(name, 6)) for name in NAMES]
    assert content["settings"]["parameters"] == {"num_mfcc": 13}
    assert content["frames"] == {"total": sum(lengths), "shortest": min(lengths), "longest": max(lengths)}
    assert content["provenance"] == [{"samples": 12, "host": "here"}]
    dataset = run_json("info", store.path, "demo")
    assert dataset["labels"] == {"numeric": 12, "range": [-1.0, 1.75], "names": []}
    assert dataset["attributes"] == {"made": "by hand"}
    assert "num_mfcc" in run("info", store.path, AUDIO.fingerprint[:6]).stdout


def test_unknown_names_are_bad_input(store: FeatureStore) -> None:
    result = run("info", store.path, "nothing")
    assert isinstance(result.exception, StoreError)
    assert result.exception.exit_code == 2


def test_validate_exits_by_what_it_finds(store: FeatureStore) -> None:
    assert run_json("validate", store.path, "--deep")["damaged"] is False
    [shard] = [ref.path for ref in store.index(AUDIO.fingerprint).shards]
    os.truncate(shard, 5000)
    content = run_json("validate", store.path, exit_code=1)
    assert [item["code"] for item in content["findings"]] == ["shard", "join"]
    result = run("validate", store.path, "--repair")
    assert result.exit_code == 1
    assert "DAMAGED" in result.stderr
    assert "Repaired" in result.stderr


def test_merge_and_select_make_readable_stores(store: FeatureStore, tmp_path: Path) -> None:
    copied = run_json("merge", tmp_path / "all", store.path)
    assert copied["samples"] == {name: len(store.index(name)) for name in store.feature_sets()}
    selection = ("select", tmp_path / "all", tmp_path / "part", "--dataset", "demo", "--split", "test")
    result = run(*selection, "--dry-run")
    assert "3 of 12" in result.stderr
    assert not (tmp_path / "part").exists()
    (tmp_path / "ids").write_text("clip03\nclip07\n")
    run_json(*selection, "--ids", tmp_path / "ids")
    part = FeatureStore.open(tmp_path / "part")
    table = part.table("demo")
    assert table.id == ("clip03", "clip07")
    np.testing.assert_array_equal(part.reader(table, "audio").read_one(1), values_of("clip07", 6))


def test_deleting_commands_do_nothing_on_a_dry_run(store: FeatureStore) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for path in store.path.rglob("*")
        if path.suffix not in (".idx", ".json")
    }
    for command in (
        ["rm", store.path, "demo"],
        ["rm", store.path, "demo", "--modality", "vision"],
        ["gc", store.path, "--unreferenced"],
        ["compact", store.path],
    ):
        result = run(*command, "--dry-run")
        assert result.exit_code == 0, result.output
    after = {
        path: path.stat().st_mtime_ns
        for path in store.path.rglob("*")
        if path.suffix not in (".idx", ".json")
    }
    assert {path for path in before if path.is_file()} == {path for path in after if path.is_file()}


def test_rm_and_gc_free_space(store: FeatureStore) -> None:
    assert run("rm", store.path, "demo", "--modality", "vision").exit_code == 0
    freed = run_json("gc", store.path, "--unreferenced", "--grace-min", "0")
    assert any(VISION.fingerprint in path for path in freed["paths"])
    assert list(FeatureStore.open(store.path).feature_sets()) == [AUDIO.fingerprint]
    assert run("rm", store.path, "demo").exit_code == 0
    assert FeatureStore.open(store.path).datasets() == []


def test_recover_seals_what_dead_writers_left(store: FeatureStore) -> None:
    writer = store.writer(AUDIO)
    writer.put(key_of("left"), values_of("left", 6))
    writer._journal.close()
    found = run_json("recover", store.path)
    assert found[AUDIO.fingerprint]["num_samples"] == 1
    assert "feature set" in run("recover", store.path).stdout


def test_the_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, msakit.cli.store; "
        "heavy = {'torch', 'transformers', 'h5py', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "command", ["ls", "info", "validate", "merge", "select", "compact", "rm", "gc", "recover"]
)
def test_every_help_ends_with_an_example(command: str) -> None:
    text = run(command, "--help").stdout
    assert f"msakit store {command}" in text.split("Example:")[-1]
