"""The three corpora of people as feature stores, each with the protocol it is measured by."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NUM_FOLDS = 5
MELD_FILES = {"train": "train_sent_emo.csv", "valid": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
VOICES = {
    "prosody": ["--audio", "prosody"],
    "egemaps": ["--audio", "egemaps", "--set", "audio.level=functionals"],
    "whisper": ["--audio", "whisper", "--set", "audio.layer=mean", "--set", "audio.frame_shift_s=0.2"],
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus and how it is measured.

    Attributes:
        name: Its name, the folder of its data, and the study file `<name>.yaml` beside this module.
        datasets: Its datasets in the store, one a fold.
        metrics: What the table shows.
        cluster: Sample id to what a bootstrap draws as a whole.
        modalities: Features that classical systems get beside the text.
        prepare: Fills the store from the data folder; `limit` is the number of training dialogues (MELD).
    """

    name: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    cluster: Callable[[str], str]
    modalities: tuple[str, ...]
    prepare: Callable[[Path, Path, int | None], None]


def msakit(*arguments: str | Path) -> None:
    """Run a command of msakit's."""
    subprocess.run([sys.executable, "-m", "msakit", *map(str, arguments)], check=True)


def prepare_emodb(data: Path, store: Path, _: int | None) -> None:
    """A dataset for each extractor and fold: a man and a woman are tested, the next pair validates."""
    manifests = store.parent / "manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    for fold in range(1, NUM_FOLDS + 1):
        manifest = manifests / f"f{fold}.csv"
        _write_fold(data / "manifest.csv", manifest, fold)
        for voice, options in VOICES.items():
            msakit("extract", manifest, *options, "--dataset", f"{voice}_f{fold}", "--store", store)


def _write_fold(source: Path, target: Path, fold: int) -> None:
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    splits = {str(fold): "test", str(fold % NUM_FOLDS + 1): "valid"}
    for row in rows:
        row["path"] = str((source.parent / row["path"]).resolve())
        row["split"] = splits.get(row["fold"], "train")
    _write_csv(target, rows)


def prepare_meld(data: Path, store: Path, limit: int | None) -> None:
    """The text of MELD in its official splits; the first `limit` dialogues of the training split, or all."""
    store.parent.mkdir(parents=True, exist_ok=True)
    files = {split: data / name for split, name in MELD_FILES.items()}
    if limit is not None:
        with files["train"].open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["Dialogue_ID"]) < limit]
        files["train"] = store.parent / "train.csv"
        _write_csv(files["train"], rows)
    named = [f"{split}={path}" for split, path in files.items()]
    msakit(
        "store",
        "import",
        *named,
        "--store",
        store,
        "--dataset",
        "meld",
        "--format",
        "csv",
        "--language",
        "en",
    )


def prepare_mosi(data: Path, store: Path, _: int | None) -> None:
    """CMU-MOSI with the features' own speaker-independent split."""
    file = data / "mosi_utterance.pkl"
    msakit("store", "import", file, "--store", store, "--dataset", "mosi", "--language", "en")


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


_EMOTION = ("weighted_f1", "accuracy", "uar")
CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "emodb",
            tuple(f"f{fold}" for fold in range(1, NUM_FOLDS + 1)),
            _EMOTION,
            lambda sample: sample[:5],  # speaker and sentence
            ("audio",),
            prepare_emodb,
        ),
        Corpus("meld", ("meld",), _EMOTION, lambda sample: sample.rpartition("-")[0], (), prepare_meld),
        Corpus(
            "mosi",
            ("mosi",),
            ("mae", "corr", "acc2_non0"),
            lambda sample: sample.partition("$_$")[0],
            ("audio", "vision"),
            prepare_mosi,
        ),
    )
}
