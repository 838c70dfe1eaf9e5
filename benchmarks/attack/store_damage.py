"""Flip bytes of a store's files, cut them short, and put other things in their place."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.attack.child import command, run_child
from benchmarks.attack.store_world import NAMES, copy_world, make_world, values_of
from benchmarks.attack.tally import Family, Tally
from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.upkeep.maintenance import compact

WRONG_VALUES = 3
COMMANDS = (["validate", "--deep"], ["validate", "--deep", "--repair"], ["ls"], ["recover"])
Damage = Callable[[Path, random.Random], None]


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    """Cut the file short."""
    os.truncate(path, rng.randrange(path.stat().st_size))


def grow(path: Path, rng: random.Random) -> None:
    """Add garbage behind it."""
    with path.open("ab") as file:
        file.write(rng.randbytes(rng.randrange(1, 5000)))


def be_pipe(path: Path, rng: random.Random) -> None:
    """Put a pipe in its place, which nobody writes into."""
    path.unlink()
    os.mkfifo(path)


def be_endless(path: Path, rng: random.Random) -> None:
    """Let it point at a device that never ends."""
    path.unlink()
    path.symlink_to("/dev/zero")


def be_folder(path: Path, rng: random.Random) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


def be_sparse(path: Path, rng: random.Random) -> None:
    """Make it a file of 8 GB that takes no room."""
    os.truncate(path, 8 << 30)


def be_empty_json(path: Path, rng: random.Random) -> None:
    """Make it a document that says nothing, or is deep."""
    path.write_text(rng.choice(["{}", "[]", "null", "[" * 100_000, '{"old": 1, "new": {}}', "\x00"]))


FLIPS: list[Damage] = [flip, flip, flip, truncate, grow]
OTHER_THINGS: list[Damage] = [be_pipe, be_endless, be_folder, be_sparse, be_empty_json]


def damage(kinds: list[Damage]) -> Callable[[Path, int, int], Tally]:
    """What damages a file of a store in one of these ways and then reads, checks and lists the store."""

    def run(folder: Path, trials: int, seed: int) -> Tally:
        tally, rng = Tally(), random.Random(seed)
        _make_template(folder)
        files = sorted(
            path.relative_to(folder / "template")
            for path in (folder / "template").rglob("*")
            if path.is_file()
        )
        for _ in range(trials):
            world, file, kind = (
                copy_world(folder / "template", folder / "world"),
                rng.choice(files),
                rng.choice(kinds),
            )
            what = f"{kind.__name__} of {file}"
            kind(world / file, rng)
            tally.tried += 1
            _read(world, folder, tally, what)
            words = rng.choice(
                (["validate", "--deep"], ["ls"], ["validate", "--deep", "--repair"], ["recover"])
            )
            ending = run_child(command(["store", words[0], str(world / "store"), *words[1:]]), folder / "log")
            ending.judge(tally, f"{' '.join(words)} after {what}")
        shutil.rmtree(folder / "world", ignore_errors=True)
        return tally

    return run


def _make_template(folder: Path) -> None:
    make_world(folder / "template")
    store = FeatureStore.open(folder / "template" / "store")
    compact(store)
    for fingerprint in store.fingerprints():
        store.index(fingerprint)
    store.export_single_file(folder / "template" / "demo.h5", ["demo"])


def _read(world: Path, folder: Path, tally: Tally, what: str) -> None:
    """Read everything in a child: right values or a StoreError, and nothing else."""

    def read() -> None:
        for place in (world / "store", world / "demo.h5"):
            try:
                store = FeatureStore.open(place)
                table = store.table("demo")
                values = [store.reader(table, "audio").read_one(row) for row in range(len(table))]
            except StoreError:
                continue
            right = table.id == tuple(NAMES) and all(
                np.array_equal(item, values_of(name, 6)) for name, item in zip(NAMES, values, strict=True)
            )
            if not right:
                raise SystemExit(WRONG_VALUES)

    ending = run_child(read, folder / "log")
    if ending.code == WRONG_VALUES:
        tally.note("wrong", f"reading after {what}")
    else:
        ending.judge(tally, f"reading after {what}")


FAMILIES = [
    Family("store: flipped and cut files", damage(FLIPS), short=8, full=800),
    Family("store: other things as files", damage(OTHER_THINGS), short=8, full=300),
]
