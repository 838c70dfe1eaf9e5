"""Files from strangers in the place of every file that msakit reads."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attack.command_world import World, copy_world, make_world
from benchmarks.attack.poisons import (
    ANYTHING,
    ARCHIVES,
    ARRAYS,
    MEDIA,
    PICKLES,
    TABLES,
    TENSORS,
    YAML,
    Poison,
)
from benchmarks.attack.tally import Family, Tally

NUM_FEW = 50
HEAVY = ("inspect", "sweep")  # import torch, which takes longer than the quick tests may


@dataclass(frozen=True)
class Reader:
    """A file that a command reads.

    Attributes:
        file: its path in the world; replaced by each poison.
        line: the command line; `{w}` is the world.
        poisons: what is put there beside `ANYTHING`.
    """

    file: str
    line: tuple[str, ...]
    poisons: Mapping[str, Poison] = field(default_factory=dict)


def _import(file: str, *more: str) -> tuple[str, ...]:
    return (
        "store",
        "import",
        f"{{w}}/{file}",
        "--store",
        "{w}/store",
        "--dataset",
        "new",
        "--dry-run",
        *more,
    )


def _extract(manifest: str, *more: str) -> tuple[str, ...]:
    return ("extract", f"{{w}}/{manifest}", "--audio", "prosody", "--store", "{w}/other", *more)


_EVALUATE = ("evaluate", "{w}/run", "--split", "test")
_PREDICT = ("predict", "{w}/run", "--text", "hi")

PLAIN = (
    Reader("pipeline.yaml", ("inspect", "pipeline", "{w}/pipeline.yaml"), YAML),
    Reader("study.yaml", ("sweep", "{w}/study.yaml", "--store", "{w}/store", "--dry-run"), YAML),
    Reader("more.yaml", ("--registry", "{w}/more.yaml", "components", "list"), YAML),
    Reader("plugin.py", ("--plugin", "{w}/plugin.py", "components", "list")),
    Reader(
        "manifest.csv",
        _extract("manifest.csv", "--dry-run"),
        TABLES,
    ),
    Reader(
        "manifest.jsonl",
        _extract("manifest.jsonl", "--dry-run"),
    ),
    Reader("samples.csv", _import("samples.csv"), TABLES),
    Reader("corpus.pkl", _import("corpus.pkl"), PICKLES),
    Reader("corpus.csd", _import("corpus.csd", "--format", "csd")),
    Reader(
        "audio/s00.npy",
        _import("samples.csv", "--format", "npy", "--modality-file", "audio={w}/audio"),
        ARRAYS,
    ),
    Reader("known.json", _import("samples.csv", "--known-files", "{w}/known.json")),
    Reader("single.h5", ("store", "ls", "{w}/single.h5")),
)
TRAINED = (
    Reader("run/pipeline.yaml", _PREDICT, YAML),
    Reader("run/adapter/adapter.safetensors", _PREDICT, TENSORS),
    Reader("run/checkpoint.json", _EVALUATE),
    Reader("run/provenance.json", _EVALUATE),
    Reader("run/features.json", ("predict", "{w}/run", "{w}/clip.wav")),
    Reader("run/metrics.json", ("report", "{w}/run")),
    Reader("run/metrics.json", ("compare", "{w}/run")),
    Reader("run/predictions.test.csv", ("compare", "{w}/run"), TABLES),
    Reader("run/history.jsonl", ("report", "{w}/run")),
    Reader("run/diagnostics.test.npz", ("report", "{w}/run"), ARCHIVES),
    Reader("model/config.json", ("build", "--backbone", "{w}/model")),
    Reader("model/tokenizer.json", ("inspect", "prompt", "{w}/model.yaml", "--text", "hi")),
    Reader("model/model.safetensors", ("inspect", "prompt", "{w}/model.yaml", "--text", "hi"), TENSORS),
    Reader("clip.mp4", _extract("clips.csv"), MEDIA),
)


def attack(folder: Path, trials: int, seed: int, readers: tuple[Reader, ...]) -> Tally:
    """Put every poison in the place of every file, and run what reads it."""
    few = trials < NUM_FEW
    pairs = [
        (reader, name, poison)
        for reader in readers
        if not (few and reader.line[0] in HEAVY)
        for name, poison in {**ANYTHING, **reader.poisons}.items()
    ]
    tally = Tally()
    world = make_world(folder / "world", trained=readers is TRAINED)
    (world.folder / "clips.csv").write_text("id,path,split\na,clip.mp4,train\n")
    for reader, name, poison in random.Random(seed).sample(pairs, min(trials, len(pairs))):
        _attack_one(copy_world(world, folder / "copy"), reader, name, poison, tally)
    return tally


def _attack_one(world: World, reader: Reader, name: str, poison: Poison, tally: Tally) -> None:
    place, what = world.folder / reader.file, f"{name} as {reader.file} for {' '.join(reader.line[:2])}"
    _clear(place)
    poison(place)
    before = world.digest()
    ending = world.run(reader.line, world.folder.parent / "log")
    tally.tried += 1
    ending.judge(tally, what)
    if "Unexpected: " in ending.output:
        tally.note("traceback", f"{what}: {ending.output[:200]}")
    if world.executed:
        tally.note("executed", what)
    if world.digest() != before:
        tally.note("lost", f"{what}: the store changed")


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def attack_plain(folder: Path, trials: int, seed: int) -> Tally:
    """Pipelines, registries, studies, manifests, corpora."""
    return attack(folder, trials, seed, PLAIN)


def attack_trained(folder: Path, trials: int, seed: int) -> Tally:
    """Run folders, model folders, media."""
    return attack(folder, trials, seed, TRAINED)


FAMILIES = [
    Family("hostile files: inputs", attack_plain, short=8, full=1000),
    Family("hostile files: runs, models, media", attack_trained, short=0, full=1000),
]
