"""A world for command lines: a store, a pipeline, a trained run, a manifest, a model. Made by commands."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.attack.child import LIMIT_S, Ending, command, run_child

CLIP = Path(__file__).parents[2] / "examples" / "clips" / "movie03813.mp4"
MARKER = "executed"
WAITING_S = 60.0
_LIGHT = (
    "av",
    "rich.progress",
    "msakit.cli.store",
    "msakit.cli.extract",
    "msakit.cli.build",
    "msakit.cli.components",
)
_WARM = (
    *_LIGHT,
    "torch",
    "transformers",
    "peft",
    "av",
    "msakit.cli.evaluate",
    "msakit.workflows.load",
    "msakit.samples.samples",
    "msakit.reports.report",
    "msakit.reports.comparison",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
)
_PIPELINE = {
    "dataset": "mosei",
    "encoders": {name: {"name": "lstm", "hidden_size": 4, "output_size": 8} for name in ("audio", "vision")},
    "fuser": "tgm",
    "injector": "pseudo2",
    "backbone": "tiny",
    "training": {"epochs": 1, "batch_size": 8},
}


@dataclass(frozen=True)
class World:
    """Where everything is; a copy for each attack, so that nothing of one is left for the next.

    Attributes:
        folder: holds `store`, `run`, `pipeline.yaml`, `manifest.csv`, `samples.csv`, `study.yaml`, `model`.
    """

    folder: Path

    def run(self, arguments: Sequence[str], log: Path) -> Ending:
        """Run a command line in a child, `{w}` being the world's folder; memory is what the child adds."""
        filled = [argument.replace("{w}", str(self.folder)) for argument in arguments]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        ending = run_child(command(filled), log, prepare=self._prepare, limit_s=WAITING_S)
        code = None if ending.code == -signal.SIGXCPU else ending.code
        return replace(ending, code=code, peak_bytes=ending.peak_bytes - before)

    def _prepare(self) -> None:
        """Work in the world, for as long as a command may compute; waiting takes longer on a busy machine."""
        os.chdir(self.folder)
        resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT_S), int(LIMIT_S) + 5))

    @property
    def executed(self) -> bool:
        """Whether a payload ran: each would leave this file."""
        return (self.folder / MARKER).exists()

    def digest(self) -> str:
        """Of the names and bytes of everything that stands in the store."""
        digest = hashlib.sha256()
        for path in sorted((self.folder / "store").rglob("*.h5")):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()


def make_world(folder: Path, *, trained: bool = True) -> World:
    """Import a small corpus; and train on it for an epoch, and save a model folder.

    Args:
        folder: where it goes.
        trained: whether there are a run and a model, which takes torch.
    """
    for name in _WARM if trained else _LIGHT:  # before forking: importing takes longer than most attacks
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    folder.mkdir(parents=True)
    world = World(folder)
    _write_corpus(folder)
    (folder / "pipeline.yaml").write_text(json.dumps(_PIPELINE))
    study = {"pipeline": "pipeline.yaml", "grid": {"training.seed": [1, 2]}, "seeds": [1]}
    (folder / "study.yaml").write_text(json.dumps(study))
    (folder / "manifest.csv").write_text(f"id,path,text,split\na,{CLIP},what a film,train\n")
    features = [f"--modality-file={name}={folder / name}" for name in ("audio", "vision")]
    corpus = ["{w}/samples.csv", "--store", "{w}/store", "--dataset", "mosei", "--format", "npy", *features]
    lines = [["store", "import", *corpus]]
    if trained:
        lines.append(["train", "{w}/pipeline.yaml", "--store", "{w}/store", "--output", "{w}/run"])
    for line in lines:
        ending = world.run(line, folder.parent / "log")
        if ending.code != 0:
            message = f"the world could not be made: {ending.output[-2000:]}"
            raise RuntimeError(message)
    if trained:
        _write_model(folder / "model")
        (folder / "model.yaml").write_text(json.dumps({**_PIPELINE, "backbone": str(folder / "model")}))
    return world


def copy_world(world: World, folder: Path) -> World:
    """A fresh copy, which knows its own store."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world.folder, folder, symlinks=True)
    for file in (folder / "run" / "provenance.json", folder / "model.yaml"):
        if file.is_file():
            file.write_text(file.read_text().replace(str(world.folder), str(folder)))
    return World(folder)


def _write_corpus(folder: Path) -> None:
    """24 samples as CSV, and a feature file of each."""
    generator = np.random.default_rng(3)
    lines = ["id,text,label,split"]
    for number in range(24):
        lines.append(
            f"s{number:02},fine number {number},{number % 6 - 2.5},{('train', 'valid', 'test')[number % 3]}"
        )
        for modality, width in (("audio", 5), ("vision", 4)):
            (folder / modality).mkdir(exist_ok=True)
            values = generator.normal(size=(4, width)).astype(np.float32)
            np.save(folder / modality / f"s{number:02}.npy", values)
    (folder / "samples.csv").write_text("\n".join(lines) + "\n")


def _write_model(folder: Path) -> None:
    """A small language model as transformers saves it."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    vocabulary = {chr(33 + index): index for index in range(64)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="!", eos_token='"').save_pretrained(folder)
