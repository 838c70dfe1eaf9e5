"""Command lines that are wrong, built from what every command says it takes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.attack.command_world import World, copy_world, make_world
from benchmarks.attack.tally import Family, Tally

REFUSED = (1, 2)
LIGHT = ("components", "extract", "plugins", "store", "nonsense", "--nonsense", "--registry")
LEFT_OUT = ("quickstart",)  # trains for minutes
_TRAIN = ("train", "{w}/pipeline.yaml", "--store", "{w}/store")
_EXTRACT = ("extract", "{w}/manifest.csv", "--audio", "prosody")
BASES: dict[str, tuple[str, ...]] = {
    "build": (),
    "train": (
        "{w}/pipeline.yaml",
        "--store",
        "{w}/store",
        "--output",
        "{w}/new",
        "--set",
        "training.epochs=1",
    ),
    "evaluate": ("{w}/run", "--store", "{w}/store"),
    "predict": ("{w}/run", "--text", "hi"),
    "compare": ("{w}/run",),
    "sweep": ("{w}/study.yaml", "--store", "{w}/store", "--dry-run"),
    "report": ("{w}/run", "--output", "{w}/report.html"),
    "extract": ("{w}/manifest.csv", "--audio", "prosody", "--store", "{w}/store", "--dry-run"),
    "store import": ("{w}/samples.csv", "--store", "{w}/store", "--dataset", "new", "--dry-run"),
    "store export": ("{w}/store", "{w}/out.pkl"),
    "store ls": ("{w}/store",),
    "store info": ("{w}/store",),
    "store check": ("{w}/store", "mosei"),
    "store validate": ("{w}/store",),
    "store gc": ("{w}/store",),
    "store recover": ("{w}/store",),
    "store compact": ("{w}/store",),
    "store rm": ("{w}/store", "mosei", "--dry-run"),
    "inspect prompt": ("{w}/pipeline.yaml", "--text", "hi"),
    "inspect pipeline": ("{w}/pipeline.yaml",),
    "inspect sample": ("{w}/run", "s02"),
    "components list": (),
    "components show": ("tgm",),
    "plugins new": ("mine", "--folder", "{w}"),
}
WRONG = {
    "int": ("abc", "-5", "1e400", "9" * 5000),
    "float": ("abc", "nan", "-5"),
    "Path": ("/proc/x/y", "/dev/null/x", "x" * 5000, "\x1b[31m"),
    "str": ("", "\x1b]0;x\x07", "a=b=c", "-1"),
    "set": ("novalue", "=x", "training.seed=-1", "training.epochs=" + "[" * 5000, "a.b.c=1"),
}
ALWAYS_WRONG = {"int": ("abc", "1e400"), "float": ("abc",), "set": ("novalue", "=x")}
BY_HAND: tuple[tuple[str, ...], ...] = (
    ("nonsense",),
    ("--nonsense",),
    ("--registry", "/nowhere.yaml", "components", "list"),
    ("--registry", "/dev/zero", "components", "list"),
    ("--plugin", "/nowhere.py", "components", "list"),
    ("--trust-remote-code", "a b", "components", "list"),
    ("train", "{w}/nowhere.yaml", "--store", "{w}/store"),
    ("train", "{w}/pipeline.yaml", "--store", "{w}/nowhere"),
    (*_TRAIN, "--output", "/proc/x"),
    (*_TRAIN, "--output", "{w}/pipeline.yaml"),
    (*_TRAIN, "--set", "training.seed=-1"),
    (*_TRAIN, "--set", "training.learning_rate=.inf"),
    (*_TRAIN, "--set", "injector.tokens=2000000000"),
    (*_TRAIN, "--set", "backbone.quantization=4bit"),
    (*_TRAIN, "--set", "backbone.device=cuda:99"),
    (*_TRAIN, "--set", "dataset.label_range=[-1e8, 1e8]"),
    ("evaluate", "/"),
    ("evaluate", "{w}/run", "--split", "nonsense"),
    ("evaluate", "{w}/run", "--without", "smell"),
    ("predict", "{w}/run"),
    ("predict", "{w}/run", "--id", "nobody"),
    ("predict", "{w}/run", "{w}/pipeline.yaml"),
    ("report", "{w}/run", "--output", "{w}"),
    ("report", "{w}/run", "--output", "/proc/x.html"),
    ("compare", "{w}/run", "--metric", "nonsense"),
    ("compare", "{w}"),
    ("build", "-o", "/proc/x.yaml"),
    ("build", "--fuser", "nonsense"),
    ("build", "--fuser", "x" * 100_000),
    ("build", "--injector", "pseudo" + "9" * 5000),
    ("build", "--backbone", "hf:../../etc"),
    ("build", "--encoder", "smell=lstm"),
    ("build", "--set", "fuser.width=1"),
    ("plugins", "new", "../x"),
    ("plugins", "new", "class"),
    ("plugins", "new", "mine", "--folder", "/proc"),
    (
        "extract",
        "{w}/manifest.csv",
        "--audio",
        "prosody",
        "--set",
        "audio.frame_shift_s=abc",
        "--store",
        "{w}/o",
    ),
    (*_EXTRACT, "--store", "/proc/x"),
    ("extract", "{w}/manifest.csv", "--store", "{w}/o"),
    ("store", "import", "{w}/samples.csv", "--store", "/proc/x", "--dataset", "x"),
    ("store", "import", "/dev/zero", "--store", "{w}/o", "--dataset", "x"),
    ("store", "import", "{w}/samples.csv", "--store", "{w}/o", "--dataset", "../x"),
    ("store", "ls", "/"),
    ("store", "ls", "/dev/zero"),
    ("store", "export", "{w}/store", "/proc/x.pkl"),
    ("store", "export", "{w}/store", "{w}"),
    ("store", "check", "{w}/store", "mosei", "--label-range", "3,-3"),
    ("store", "recover", "{w}/store", "--wal-dir", "{w}/nope"),
    ("store", "gc", "{w}/store", "--older-than-min", "-5"),
    ("store", "compact", "{w}/store", "--small-mb", "nan"),
    ("inspect", "sample", "{w}/run", "nobody"),
    ("inspect", "prompt", "{w}/run"),
    ("components", "show", "\x1b[31m"),
    ("components", "list", "nonsense"),
)


def generated() -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Every option of every command with a value of the wrong kind; unknown options; too many arguments."""
    from msakit.cli.commands import COMMANDS, load_command

    for name in COMMANDS:
        command = load_command(name)
        for part_name, part in (getattr(command, "commands", None) or {"": command}).items():
            full = f"{name} {part_name}".strip()
            if name in LEFT_OUT or full not in BASES:
                continue
            base = (*full.split(), *BASES[full])
            yield (*base, "--nonsense"), REFUSED
            yield (*base, "one", "too", "many", "\x1b"), (0, 1, 2)
            for option in part.params:
                if option.param_type_name == "option" and not getattr(option, "is_flag", False):
                    yield from _spoiled(base, option)


def _spoiled(base: tuple[str, ...], option: Any) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    kind = "set" if option.metavar == "KEY=VALUE" else option.bare_type.__name__
    for value in WRONG.get(kind, WRONG["str"]):
        always = value in ALWAYS_WRONG.get(kind, ())
        yield (*base, option.opts[0], value), REFUSED if always else (0, 1, 2)


def attack(folder: Path, trials: int, seed: int) -> Tally:
    """Run lines that are wrong: by hand, and generated."""
    lines = [(line, REFUSED) for line in BY_HAND] + list(generated())
    few = trials < len(BY_HAND)
    if few:  # importing torch takes longer than the quick tests may
        lines = [(line, codes) for line, codes in lines if line[0] in LIGHT]
    tally = Tally()
    world = make_world(folder / "world", trained=not few)
    chosen = random.Random(seed).sample(lines, min(trials, len(lines)))
    for line, codes in chosen:
        _attack_one(copy_world(world, folder / "copy"), line, codes, tally)
    return tally


def _attack_one(world: World, line: tuple[str, ...], codes: tuple[int, ...], tally: Tally) -> None:
    what = " ".join(argument[:40] for argument in line).encode("unicode_escape").decode()
    before = world.digest()
    ending = world.run(line, world.folder.parent / "log")
    tally.tried += 1
    ending.judge(tally, what, codes)
    if "Unexpected: " in ending.output:
        tally.note("traceback", f"{what}: {ending.output[:200]}")
    if world.digest() != before and "compact" not in line and "gc" not in line:
        tally.note("lost", f"{what}: the store changed")


FAMILIES = [Family("bad command lines", attack, short=8, full=1000)]
