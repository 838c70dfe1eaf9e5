"""Extraction: what ends up in the store, what is reported, and that no work is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import wave
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from msakit.core.errors import InputError, MsakitError
from msakit.core.interfaces import FeatureArray, MediaClip
from msakit.extraction.extract import Extraction, ExtractionReport, extractor_choice, feature_set_of
from msakit.extraction.manifest import ManifestRow, read_manifest
from msakit.extraction.media import NoStreamError, decode_audio
from msakit.feature_store import FeatureStore, digest_file

pytest.importorskip("av")
RATE = 8000


class Loudness:
    """Loudness and peak of every tenth of a second; notes each clip it is asked for."""

    name, version, modality, width, frame_shift_s, deterministic = "loudness", 3, "audio", 2, 0.1, True
    start_s = 0.0

    def __init__(self, log: Path | None = None, *, delay_s: float = 0.0) -> None:
        self._log, self._delay_s = log, delay_s

    def parameters(self) -> dict[str, object]:
        return {"rate": RATE, "libraries": {"numpy": "any"}}

    def weights(self) -> list[str]:
        return ["ab" * 32]

    def extract(self, clip: MediaClip) -> FeatureArray:
        time.sleep(self._delay_s)
        samples = decode_audio(clip, RATE)
        if self._log is not None:
            with self._log.open("a") as stream:
                stream.write(f"{clip.clip_id}\n")
        rows = np.resize(samples, (max(1, len(samples) // (RATE // 10)), RATE // 10))
        values = np.stack([np.sqrt((rows**2).mean(1)), np.abs(rows).max(1)], axis=1)
        if "nan" in clip.clip_id:
            values[0, 0] = np.nan
        return FeatureArray(values.astype(np.float32), 0.1)


class Silent(Loudness):
    """A picture extractor for which every clip whose name holds "blind" has no picture."""

    name, modality = "silent", "vision"

    def extract(self, clip: MediaClip) -> FeatureArray:
        if "blind" in clip.clip_id:
            raise NoStreamError(f"{clip.path}: no video stream")
        return super().extract(clip)


class Together(Loudness):
    """Computes up to three clips at once; notes how many each time."""

    batch_size = 3

    def read(self, clip: MediaClip) -> FeatureArray:
        return super().extract(clip)

    def encode(self, inputs: list[FeatureArray]) -> list[FeatureArray]:
        if self._log is not None:
            with self._log.open("a") as stream:
                stream.write(f"together:{len(inputs)}\n")
        return inputs


class Misshapen(Loudness):
    def extract(self, clip: MediaClip) -> FeatureArray:
        return FeatureArray(np.zeros((4, 3), np.float32), 0.1)


class Deadly(Loudness):
    def extract(self, clip: MediaClip) -> FeatureArray:
        os._exit(7)


def write_wav(path: Path, hertz: float, seconds: float = 0.5) -> None:
    samples = 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def write_corpus(folder: Path, names: list[str]) -> list[ManifestRow]:
    """A clip a name, each with its own sound."""
    lines = ["id,path,text,label,split,mood"]
    for index, name in enumerate(names):
        write_wav(folder / f"{name}.wav", 200 + 37 * index)
        lines.append(f'{name},{name}.wav,"said, {name}",{index},train,{index / 2}')
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return read_manifest(folder / "manifest.csv")


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store")


def extraction(log: Path | None = None, cls: type[Loudness] = Loudness, **settings) -> Extraction:
    return Extraction({cls.modality: partial(cls, log)}, **settings)


def stored(store: FeatureStore, modality: str = "audio") -> dict[str, np.ndarray]:
    store.refresh()
    table = store.table("d")
    reader = store.reader(table, modality)
    return {name: reader.read_one(row) for row, name in enumerate(table.id) if reader.present[row]}


def names(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def contents(store: FeatureStore) -> list[Path]:
    """Every file but the indexes, which any reader may renew."""
    return sorted(path for path in store.path.rglob("*") if "index" not in path.parts)


def test_features_and_table_hold_what_was_given(tmp_path, store):
    rows = write_corpus(tmp_path, ["a", "b", "c"])
    report = extraction().run(rows, store, "d")
    assert report == ExtractionReport(3, extracted={"audio": 3}, reused={"audio": 0}, version=1)
    for row in rows:
        expected = Loudness().extract(row.clip).values
        assert np.array_equal(stored(store)[row.clip.clip_id], expected)
    table = store.table("d")
    assert table.id == ("a", "b", "c")
    assert table.text == ("said, a", "said, b", "said, c")
    assert table.label.tolist() == [0, 1, 2]
    assert table.split == ("train",) * 3
    assert np.asarray(table.extra["mood"]).tolist() == [0, 0.5, 1]


def test_nothing_is_computed_twice(tmp_path, store):
    log = tmp_path / "log"
    rows = write_corpus(tmp_path, ["a", "b"])
    extraction(log).run(rows, store, "d")
    more = write_corpus(tmp_path, ["a", "b", "c"])
    report = extraction(log).run(more, FeatureStore.open(store.path), "d")
    assert names(log) == ["a", "b", "c"]
    assert (report.extracted, report.reused, report.version) == ({"audio": 1}, {"audio": 2}, 2)
    assert set(stored(store)) == {"a", "b", "c"}


@pytest.mark.parametrize("workers", [1, 2])
def test_clips_are_computed_together_where_an_extractor_can(tmp_path, store, workers):
    log = tmp_path / "log"
    rows = write_corpus(tmp_path, ["a", "b", "broken", "d", "e"])
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    report = extraction(log, Together, workers=workers).run(rows, store, "d")
    assert [problem.clip_id for problem in report.failed] == ["broken"]
    assert {name: values.tolist() for name, values in stored(store).items()} == {
        row.clip.clip_id: Loudness().extract(row.clip).values.tolist()
        for row in rows
        if row.clip.clip_id != "broken"
    }
    assert [line for line in names(log) if line.startswith("together")] == ["together:2"] * 2


def test_the_same_sound_under_two_names_is_computed_once(tmp_path, store):
    log = tmp_path / "log"
    write_corpus(tmp_path, ["a"])
    (tmp_path / "manifest.csv").write_text("id,path\na,a.wav\ntwin,a.wav\n")
    report = extraction(log).run(read_manifest(tmp_path / "manifest.csv"), store, "d")
    assert names(log) == ["a"]
    assert (report.extracted, report.reused) == ({"audio": 1}, {"audio": 1})
    assert np.array_equal(stored(store)["a"], stored(store)["twin"])


def test_segments_of_one_file_are_different_samples(tmp_path, store):
    sound = np.concatenate([0.1 * np.ones(4000), 0.3 * np.ones(4000)])
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    (tmp_path / "manifest.csv").write_text("id,path,start_s,end_s\nlow,a.wav,0,0.5\nhigh,a.wav,0.5,1\n")
    extraction().run(read_manifest(tmp_path / "manifest.csv"), store, "d")
    assert stored(store)["low"][:, 1] == pytest.approx(0.1, abs=1e-3)
    assert stored(store)["high"][:, 1] == pytest.approx(0.3, abs=1e-3)
    assert store.table("d").start_s.tolist() == [0, 0.5]


def test_a_damaged_clip_is_left_out_until_it_is_mended(tmp_path, store):
    log = tmp_path / "log"
    rows = write_corpus(tmp_path, ["a", "b", "c"])
    good = (tmp_path / "b.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(b"not sound")
    (tmp_path / "c.wav").unlink()
    report = extraction(log).run(rows, store, "d")
    assert [(p.clip_id, p.modality) for p in report.failed] == [("c", ""), ("b", "audio")]
    assert all(
        name in problem.reason for name, problem in zip(("c.wav", "b.wav"), report.failed, strict=True)
    )
    assert store.table("d").id == ("a",)
    (tmp_path / "b.wav").write_bytes(good)
    write_wav(tmp_path / "c.wav", 700)
    again = extraction(log).run(rows, store, "d")
    assert again.failed == []
    assert names(log) == ["a", "b", "c"]
    assert store.table("d").id == ("a", "b", "c")


def test_when_every_clip_fails_no_table_is_written(tmp_path, store):
    rows = write_corpus(tmp_path, ["a"])
    (tmp_path / "a.wav").unlink()
    assert extraction().run(rows, store, "d").version is None
    assert store.datasets() == []


def test_a_clip_without_the_stream_lacks_the_modality(tmp_path, store):
    rows = write_corpus(tmp_path, ["seeing", "blind"])
    both = Extraction({"audio": Loudness, "vision": Silent})
    report = both.run(rows, store, "d")
    assert [(p.clip_id, p.modality) for p in report.absent] == [("blind", "vision")]
    assert report.failed == []
    assert set(stored(store, "audio")) == {"seeing", "blind"}
    assert set(stored(store, "vision")) == {"seeing"}
    assert store.table("d").features["vision"].present.tolist() == [True, False]


@pytest.mark.parametrize("policy", ["error", "keep", "zero"])
def test_nonfinite_values_get_what_was_asked_for(tmp_path, store, policy):
    rows = write_corpus(tmp_path, ["a", "nan"])
    report = extraction(nonfinite=policy).run(rows, store, "d")
    problems = report.failed if policy == "error" else report.nonfinite
    assert [(p.clip_id, p.reason.split(",")[0]) for p in problems] == [("nan", "1 NaN or infinite values")]
    if policy == "error":
        assert set(stored(store)) == {"a"}
    else:
        value = stored(store)["nan"][0, 0]
        assert np.isnan(value) if policy == "keep" else value == 0
        assert np.isfinite(stored(store)["nan"].ravel()[1:]).all()


def test_two_workers_store_what_one_stores(tmp_path, store):
    rows = write_corpus(tmp_path, [f"c{k}" for k in range(7)])
    (tmp_path / "c3.wav").write_bytes(b"")
    alone = extraction().run(rows, store, "d")
    expected = stored(store)
    other = FeatureStore.create(tmp_path / "other")
    report = extraction(workers=2).run(rows, other, "d")
    assert report == alone
    found = stored(other)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_worker_that_dies_is_reported_and_the_rest_can_go_on(tmp_path, store):
    rows = write_corpus(tmp_path, ["a", "b"])
    with pytest.raises(MsakitError, match="worker process died"):
        extraction(cls=Deadly, workers=2).run(rows, store, "d")
    assert extraction().run(rows, store, "d").extracted == {"audio": 2}


def test_an_interruption_keeps_what_was_done(tmp_path, store):
    log = tmp_path / "log"
    rows = write_corpus(tmp_path, ["a", "b", "c", "d"])
    seen: list[str] = []

    def stop_after_two(clip_id: str) -> None:
        seen.append(clip_id)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extraction(log).run(rows, store, "d", on_progress=stop_after_two)
    assert store.datasets() == []
    report = extraction(log).run(rows, FeatureStore.open(store.path), "d")
    assert names(log) == ["a", "b", "c", "d"]
    assert (report.extracted, report.reused) == ({"audio": 2}, {"audio": 2})


def test_a_killed_run_is_taken_up_where_it_was(tmp_path, store):
    log = tmp_path / "log"
    rows = write_corpus(tmp_path, ["a", "b", "c", "d"])
    script = (
        "import sys; from pathlib import Path; from functools import partial\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_extraction import *\n"
        f"rows = read_manifest(Path({str(tmp_path / 'manifest.csv')!r}))\n"
        f"slow = partial(Loudness, Path({str(log)!r}), delay_s=0.3)\n"
        f"Extraction({{'audio': slow}}).run(rows, FeatureStore.open({str(store.path)!r}), 'd')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while len(names(log)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = names(log)
    report = extraction(log).run(rows, FeatureStore.open(store.path), "d")
    # The third clip was being stored, or about to be; the two before it were acknowledged.
    assert report.reused["audio"] >= 2
    assert report.reused["audio"] + report.extracted["audio"] == 4
    assert len(names(log)) == len(begun) + report.extracted["audio"]
    assert set(stored(store)) == {"a", "b", "c", "d"}


def test_a_dry_run_counts_and_writes_nothing(tmp_path, store):
    rows = write_corpus(tmp_path, ["a", "b"])
    extraction().run(rows[:1], store, "d")
    (tmp_path / "c.wav").write_bytes(b"")
    before = contents(store)
    report = extraction().count_stored(rows, FeatureStore.open(store.path))
    assert (report.extracted, report.reused) == ({"audio": 1}, {"audio": 1})
    assert contents(store) == before
    assert extraction().count_stored(rows, None).extracted == {"audio": 2}


def test_progress_is_told_of_every_clip(tmp_path, store):
    rows = write_corpus(tmp_path, ["a", "b"])
    for _ in range(2):
        seen: list[str] = []
        extraction().run(rows, store, "d", on_progress=seen.append)
        assert seen == ["a", "b"]


def test_an_extractor_of_another_modality_is_refused():
    with pytest.raises(InputError, match="'loudness' is for audio, not for vision"):
        Extraction({"vision": Loudness})


def test_an_extractor_that_breaks_its_word_is_reported(tmp_path, store):
    rows = write_corpus(tmp_path, ["a"])
    with pytest.raises(MsakitError, match=r"float32 \[4, 3\], not float32 \[T, 2\]"):
        extraction(cls=Misshapen).run(rows, store, "d")


def test_the_feature_set_names_extractor_settings_and_weights():
    feature_set = feature_set_of(Loudness(), "float16")
    assert (feature_set.extractor, feature_set.modality, feature_set.width) == ("loudness@3", "audio", 2)
    assert (feature_set.dtype, feature_set.frame_shift_s) == ("float16", 0.1)
    assert feature_set.weights == ("ab" * 32,)
    assert extractor_choice(feature_set.extractor, feature_set.parameters) == ("loudness", {"rate": RATE})
    assert feature_set.fingerprint != feature_set_of(Loudness(), "float32").fingerprint


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path, store, monkeypatch):
    from msakit.feature_store import digests

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = write_corpus(tmp_path, ["a", "b"])
    extraction().run(rows, store, "d")
    read = []

    def noted(path):
        read.append(Path(path).name)
        return digest_file(path)

    monkeypatch.setattr(digests, "digest_file", noted)
    write_wav(tmp_path / "b.wav", 999)
    report = extraction().run(rows, FeatureStore.open(store.path), "d")
    assert read == ["b.wav"]
    assert (report.extracted, report.reused) == ({"audio": 1}, {"audio": 1})
