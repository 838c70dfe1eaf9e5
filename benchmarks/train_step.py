"""Training steps and evaluation against the released MSE-Adapter's way of doing them, pair by pair.

    python benchmarks/train_step.py                      # SmolLM2-135M, float32, batch 16
    python benchmarks/train_step.py --rounds 3 --batch-size 8 --output train_step.json

The same backbone, adapter, samples and optimiser; in every round each system makes one step on the same
batch, and a ratio is the median over rounds of the reference's time to the system's. Peak memory is the
largest resident set of a process of its own for each system, less what it held before its first step.
Utilisation is the rate at which a step does the floating-point operations
it does, as a share of what matrix products of the backbone's shapes reach between the steps.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference.mse_step import ReferenceStep
from torch.utils.flop_counter import FlopCounterMode

from msakit.core.pipeline.batch import Batch
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry
from msakit.core.tensors import Sequence
from msakit.runs.provenance import collect

WIDTHS = {"audio": 64, "vision": 64}
FRAMES = {"audio": 157, "vision": 32}
LONGEST_TEXT, MEAN_TEXT = 65, 12
SYSTEMS = ("reference", "paper", "late")


def make_pipeline(backbone: str, layout: str) -> Any:
    registry = load_registry(discover=False)
    content = {
        "dataset": {"name": "mosei", "features": WIDTHS},
        "encoders": {
            "audio": {"name": "lstm", "hidden_size": 32},
            "vision": {"name": "lstm", "hidden_size": 16},
        },
        "fuser": "tgm",
        "injector": "pseudo4",
        "backbone": backbone,
        "prompt": {"layout": layout},
    }
    torch.manual_seed(0)
    return build_pipeline(resolve(parse_pipeline(content, "benchmark"), registry), registry, widths=WIDTHS)


def make_batches(pipeline: Any, number: int, size: int) -> list[Batch]:
    """Random samples with MELD's lengths: texts of 12 tokens in the mean, 65 at most."""
    generator = np.random.default_rng(0)
    words = ["film", "good", "bad", "the", "a", "of", "it", "was"]
    batches = []
    for _ in range(number):
        lengths = np.clip(generator.geometric(1 / MEAN_TEXT, size), 1, LONGEST_TEXT)
        texts = [" ".join(generator.choice(words, length)) for length in lengths]
        modalities = {
            name: Sequence(
                torch.from_numpy(generator.normal(size=(size, frames, WIDTHS[name])).astype(np.float32)),
                torch.from_numpy(generator.integers(1, frames + 1, size)),
            )
            for name, frames in FRAMES.items()
        }
        labels = np.round(generator.uniform(-3, 3, size), 1).tolist()
        batches.append(Batch([str(i) for i in range(size)], texts, modalities, labels))
    return batches


class Stepper:
    """One system with its own adapter and optimiser."""

    def __init__(self, name: str, backbone: str) -> None:
        self.pipeline = make_pipeline(backbone, "late" if name == "late" else "paper")
        self.model = ReferenceStep(self.pipeline, LONGEST_TEXT) if name == "reference" else self.pipeline
        self.optimizer = torch.optim.AdamW(self.pipeline.adapter.parameters(), lr=1e-4)

    def step(self, batch: Batch) -> float:
        started = time.perf_counter()
        loss = self.model(batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    def operations(self, batch: Batch) -> int:
        """Floating-point operations of a step's forward and backward pass."""
        with FlopCounterMode(display=False) as counter:
            self.model(batch).backward()
        self.optimizer.zero_grad(set_to_none=True)
        return counter.get_total_flops()

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        """Seconds, and how many answers could not be read."""
        started = time.perf_counter()
        if isinstance(self.model, ReferenceStep):
            unreadable = sum(value is None for value in self.model.generate(batch))
        else:
            unreadable = int(np.isnan(self.pipeline.predict(batch).values).sum())
        return time.perf_counter() - started, unreadable


def resident_bytes(field: str) -> int:
    """A field of /proc/self/status: VmRSS (resident now) or VmHWM (its peak)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure_memory(name: str, backbone: str, size: int, results: Any) -> None:
    """In a process of its own: the peak of three steps over what was resident before them."""
    stepper = Stepper(name, backbone)
    batches = make_batches(stepper.pipeline, 3, size)
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak of loading
    for batch in batches:
        stepper.step(batch)
    results.put(resident_bytes("VmHWM") - before)


def peak_memory(name: str, backbone: str, size: int) -> int:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=measure_memory, args=(name, backbone, size, results))
    process.start()
    peak = results.get()
    process.join()
    return int(peak)


def product_rate(pipeline: Any, tokens: int = 1024) -> float:
    """Floating-point operations a second of a product of so many tokens with a layer's widest matrix."""
    config = pipeline.backbone.language_model.config.get_text_config()
    states, weights = (
        torch.ones(tokens, config.hidden_size),
        torch.ones(config.hidden_size, config.intermediate_size),
    )
    started = time.perf_counter()
    torch.mm(states, weights)
    return 2 * states.numel() * weights.shape[1] / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    steppers = {name: Stepper(name, arguments.backbone) for name in SYSTEMS}
    # Two passes: in the first, the late layout fills its cache of frozen prefixes; training goes round
    # the same samples many times, so the second is what an epoch costs.
    batches = make_batches(steppers["paper"].pipeline, arguments.rounds, arguments.batch_size)
    times: dict[str, list[list[float]]] = {name: [[], []] for name in SYSTEMS}
    rates = []
    for epoch in range(2):
        for batch in batches:
            for name, stepper in steppers.items():
                times[name][epoch].append(stepper.step(batch))
                rates.append(product_rate(stepper.pipeline))
    evaluations = {name: [stepper.evaluate(batch) for batch in batches] for name, stepper in steppers.items()}
    peak = max(rates)
    rows = []
    for name in SYSTEMS:
        operations = [steppers[name].operations(batch) for batch in batches]
        ratios = [
            [r / t for r, t in zip(times["reference"][e], times[name][e], strict=True)] for e in range(2)
        ]
        seconds = [pair[0] for pair in evaluations[name]]
        reference_seconds = [pair[0] for pair in evaluations["reference"]]
        rows.append(
            {
                "system": name,
                "train_samples_per_s": arguments.batch_size / statistics.median(times[name][1]),
                "train_ratio_first_epoch": statistics.median(ratios[0]),
                "train_ratio": statistics.median(ratios[1]),
                "utilisation": statistics.median(
                    count / t / peak for count, t in zip(operations, times[name][1], strict=True)
                ),
                "evaluation_samples_per_s": arguments.batch_size / statistics.median(seconds),
                "evaluation_ratio": statistics.median(
                    r / s for r, s in zip(reference_seconds, seconds, strict=True)
                ),
                "unreadable": sum(pair[1] for pair in evaluations[name]),
                "peak_bytes": peak_memory(name, arguments.backbone, arguments.batch_size),
            }
        )
    report(rows, arguments, peak)


COLUMNS = {
    "system": "system",
    "train_samples_per_s": "train samples/s",
    "train_ratio_first_epoch": "ratio, first epoch",
    "train_ratio": "ratio",
    "utilisation": "utilisation",
    "evaluation_samples_per_s": "evaluation samples/s",
    "evaluation_ratio": "ratio",
    "unreadable": "unreadable",
    "peak_bytes": "peak memory (MB)",
}


def report(rows: list[dict[str, Any]], arguments: argparse.Namespace, peak: float) -> None:
    print(
        f"{arguments.backbone}, batch {arguments.batch_size}, {torch.get_num_threads()} threads; "
        f"matrix products reach {peak / 1e9:.0f} GFLOPS\n"
    )
    print("| " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * len(COLUMNS) + "|")
    for row in rows:
        shown = {**row, "peak_bytes": round(row["peak_bytes"] / 1e6)}
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in (shown[key] for key in COLUMNS)]
        print("| " + " | ".join(cells) + " |")
    if arguments.output:
        content = {
            "rows": rows,
            "product_rate": peak,
            "settings": vars(arguments) | {"output": None},
            **collect(seed=0, data={}),
        }
        arguments.output.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
