"""A store in every state at once, the operations on it, and the check that nothing acknowledged is gone."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from feature_store.known_stores import AUDIO, NAMES, VISION, fill, key_of, values_of

from benchmarks.attack.child import command, run_child
from benchmarks.attack.faults import count
from benchmarks.attack.tally import Tally
from msakit.feature_store import FeatureSet, FeatureStore, StoreError, WriterOptions
from msakit.feature_store.disk.rows import RowSource
from msakit.feature_store.upkeep.maintenance import recover

LEFT = [f"left{number}" for number in range(5)]
NEW = [f"more{number}" for number in range(7)]
UNUSED = FeatureSet("audio", "unused@1", 2)
SMALL = WriterOptions(shard_samples=3)
_warm: list[bool] = []


@dataclass(frozen=True)
class Operation:
    """Something that is done to a store and may be interrupted anywhere."""

    name: str
    run: Callable[[Path], None]


def make_world(template: Path) -> None:
    """Make a store with small shards to compact, a journal to adopt, and a feature set nothing names."""
    _make_store(template)
    if _warm:
        return
    # Import what the operations import before anything is taken away from them: it is not under attack here.
    world = copy_world(template, template.with_name("warm"))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for operation in OPERATIONS:
            with contextlib.suppress(SystemExit):
                operation.run(world)
    shutil.rmtree(world)
    _warm.append(True)


def _make_store(folder: Path) -> None:
    store = FeatureStore.create(folder / "store")
    for part in (NAMES[:4], NAMES[4:8], NAMES):
        table = fill(store, part)
    store.write_table("demo", table)
    with store.writer(UNUSED) as writer:
        writer.put(key_of("unused"), np.ones((3, 2), np.float32))
    pid = os.fork()
    if pid == 0:  # a writer that dies with samples in its journal
        writer = store.writer(AUDIO)
        for name in LEFT:
            writer.put(key_of(name), values_of(name, 6), meta={"name": name})
        os._exit(0)
    os.waitpid(pid, 0)


def copy_world(template: Path, folder: Path) -> Path:
    """Make a fresh copy to attack."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return folder


def count_calls(folder: Path, operation: Operation, calls: tuple[str, ...]) -> int:
    """How many of these calls an undisturbed run of an operation makes."""
    world, tally = copy_world(folder / "template", folder / "world"), folder / "count"
    tally.unlink(missing_ok=True)
    run_child(lambda: operation.run(world), folder / "log", prepare=count(calls, tally))
    return tally.stat().st_size


def check_world(folder: Path, tally: Tally, what: str) -> None:
    """Open the store as the next user would; count what is lost, wrong or put aside."""
    try:
        store = FeatureStore.open(folder / "store")
        recover(store)
        names = [*NAMES, *LEFT, *_acknowledged(folder)]
        _compare(store, AUDIO, names, tally, what)
        _compare(store, VISION, NAMES, tally, what)
        table = store.table("demo")
        if table.id != tuple(NAMES):
            tally.note("wrong", f"{what}: the table has other samples")
        batch = store.reader(table, "audio", verify="always").read(range(len(NAMES)))
        for row, name in enumerate(NAMES):
            if not np.array_equal(batch.values[row, : batch.lengths[row]], values_of(name, 6)):
                tally.note("wrong", f"{what}: {name} reads differently")
        for path in (folder / "store").rglob("quarantine/*"):
            tally.note("lost", f"{what}: {path.name} was put aside")
        _check_others(folder)
    except StoreError as error:
        tally.note("lost", f"{what}: {error.message[:160]}")


def _compare(store: FeatureStore, feature_set: FeatureSet, names: list[str], tally: Tally, what: str) -> None:
    keys = np.frombuffer(b"".join(map(key_of, names)), np.uint8).reshape(-1, 16)
    index = store.index(feature_set.fingerprint)
    found = index.find(keys) >= 0
    for name in np.array(names)[~found].tolist():
        tally.note("lost", f"{what}: {feature_set.modality} of {name}")
    if index.conflicts:
        tally.note("wrong", f"{what}: {len(index.conflicts)} samples have two values")
    rows = RowSource(index).rows_of(keys[found])
    stored = rows.fields[feature_set.modality].buffers
    for name, content in zip(np.array(names)[found].tolist(), stored, strict=True):
        expected = values_of(name, feature_set.width).astype(feature_set.dtype)
        if bytes(content) != expected.tobytes():
            tally.note("wrong", f"{what}: {feature_set.modality} of {name}")


def _check_others(folder: Path) -> None:
    """What operations make beside the store: complete, or made again without trouble.

    Raises:
        StoreError: when it is neither.
    """
    FeatureStore.open_or_create(folder / "new")
    if (folder / "demo.h5").exists():
        FeatureStore.open(folder / "demo.h5")
    if (folder / "demo.pkl").exists():
        with (folder / "demo.pkl").open("rb") as file:
            pickle.load(file)
    store = FeatureStore.open(folder / "store")
    (folder / "demo.h5").unlink(missing_ok=True)
    store.export_single_file(folder / "demo.h5", ["demo"])
    if left := list(folder.glob("*.tmp")):
        raise StoreError(f"{left[0].name} was left behind")


def _acknowledged(folder: Path) -> list[str]:
    path = folder / "acknowledged"
    return path.read_text().split() if path.exists() else []


def _write(folder: Path) -> None:
    fd = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with FeatureStore.open(folder / "store").writer(AUDIO, SMALL) as writer:
        for name in NEW:
            writer.put(key_of(name), values_of(name, 6))
            os.write(fd, f"{name}\n".encode())


def _guarded(work: Callable[[Path], None]) -> Callable[[Path], None]:
    """End as the command line would: a StoreError is its message and exit code."""

    def run(folder: Path) -> None:
        try:
            work(folder)
        except (StoreError, OSError) as error:
            os.write(2, str(error).encode())
            raise SystemExit(getattr(error, "exit_code", 1)) from error

    return run


def _command(*words: str) -> Callable[[Path], None]:
    """A command on paths inside the world: words that begin with @ are names there."""

    def run(folder: Path) -> None:
        command([str(folder / word[1:]) if word.startswith("@") else word for word in words])()

    return run


OPERATIONS = [
    Operation("write", _guarded(_write)),
    Operation("create", _guarded(lambda folder: FeatureStore.open_or_create(folder / "new") and None)),
    Operation("seal", _command("store", "recover", "@store")),
    Operation("compact", _command("store", "compact", "@store")),
    Operation("gc", _command("store", "gc", "@store", "--unreferenced", "--grace-min", "0")),
    Operation("validate", _command("store", "validate", "@store", "--deep", "--repair")),
    Operation("export", _command("store", "export", "@store", "@demo.pkl", "--dataset", "demo")),
    Operation("export file", _command("store", "export", "@store", "@demo.h5", "--single-file")),
    Operation("merge", _command("store", "merge", "@new", "@store")),
    Operation("rm", _command("store", "rm", "@store", "demo", "--modality", "vision", "--dry-run")),
]
