"""Extraction on a local Ray cluster of two workers: the same features, each worker its own journal."""

from __future__ import annotations

import gc
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.errors import MsakitError
from msakit.extraction.extract import Extraction
from msakit.extraction.extractors import ExtractorFactory
from msakit.extraction.manifest import read_manifest
from msakit.feature_store import FeatureStore

pytest.importorskip("av")
pytest.importorskip("librosa")
pytestmark = [
    pytest.mark.slow,  # a cluster takes seconds to start
    # Ray waits a second for each process it has ended; on a busy machine some are left to be collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ray = pytest.importorskip("ray", reason="--engine ray needs Ray: pip install 'msakit[ray]'")
CLIPS = Path(__file__).parents[2] / "examples/clips"
PROSODY = ("--audio", "prosody", "--set", "audio.frame_shift_s=0.1")


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 otherwise, which starves beside other tests
    yield Path(shutil.copytree(CLIPS, tmp_path / "clips")) / "manifest.csv"
    gc.collect()  # here, where Ray's warnings are expected


def run(*arguments: object):
    return CliRunner().invoke(app, ["extract", *map(str, arguments)])


def stored(folder):
    store = FeatureStore.open(folder)
    table = store.table("clips")
    reader = store.reader(table, "audio")
    return {name: reader.read_one(row) for row, name in enumerate(table.id)}


def shards(folder):
    return list(folder.glob("fs/*/shards/*.h5"))


def test_two_workers_store_what_one_process_stores_and_each_writes_its_own(corpus, tmp_path):
    (corpus.parent / "movie05708.mp4").write_bytes(b"no film")
    alone = run(corpus, *PROSODY, "--store", tmp_path / "alone", "--json")
    spread = run(corpus, *PROSODY, "--store", tmp_path / "s", "--engine", "ray", "--workers", 2, "--json")
    assert (alone.exit_code, spread.exit_code) == (1, 1)
    assert json.loads(spread.stdout) == json.loads(alone.stdout)
    expected, found = stored(tmp_path / "alone"), stored(tmp_path / "s")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert len(shards(tmp_path / "s")) == 2
    again = run(corpus, *PROSODY, "--store", tmp_path / "s", "--engine", "ray", "--workers", 2, "--json")
    assert json.loads(again.stdout)["extracted"] == {"audio": 0}


class Deadly:
    """Makes an extractor that kills its process at the second clip."""

    def __call__(self):
        from msakit.extraction.extractors import ExtractorFactory

        extractor = ExtractorFactory("prosody", {})()
        original, seen = extractor.extract, []

        def extract(clip):
            import os

            seen.append(clip)
            return os._exit(9) if len(seen) == 2 else original(clip)  # one clip is stored by then

        extractor.extract = extract
        return extractor


def test_a_worker_that_dies_loses_nothing_it_had_stored(corpus, tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    rows = read_manifest(corpus)
    store = FeatureStore.create(tmp_path / "s")
    with pytest.raises(MsakitError, match="Ray worker died"):
        Extraction({"audio": Deadly()}, workers=1, engine="ray").run(rows, store, "clips")
    factory = ExtractorFactory("prosody", {})
    report = Extraction({"audio": factory}).run(rows, FeatureStore.open(tmp_path / "s"), "clips")
    assert Counter(extracted=report.extracted["audio"], reused=report.reused["audio"]) == {
        "extracted": len(rows) - 1,
        "reused": 1,
    }


def test_an_unknown_engine_is_refused(corpus, tmp_path):
    result = run(corpus, *PROSODY, "--store", tmp_path / "s", "--engine", "spark")
    assert result.exit_code == 2
    assert "--engine spark is none of processes, ray." in result.stderr
