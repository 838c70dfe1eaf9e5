"""Training steps and evaluation against the released MSE-Adapter's way of doing them, pair by pair.

    python benchmarks/train_step.py                      # SmolLM2-135M, batch 16
    python benchmarks/train_step.py --rounds 3 --batch-size 8 --output train_step.json

The same backbone, adapter, samples and optimiser; in every round each system makes one step on the same
batch, and a ratio is the median over rounds of a reference's time to the system's. The reference computes
in float32, as it was released; where the processor has bfloat16, which `dtype: auto` then takes, a second
reference has it too. Peak memory is the largest resident set of a process of its own for each system, less
what it held before its first step. Utilisation is the rate at which a step does the floating-point
operations it does, as a share of what matrix products of the backbone's shapes, in the same dtype, reach
between the steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from msakit.plugins.backbones.devices import computes_bfloat16
from msakit.runs.provenance import collect
from msakit.samples.order import shuffled_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTHS = {"audio": 64, "vision": 64}
FRAMES = {"audio": 157, "vision": 32}
LONGEST_TEXT, MEAN_TEXT = 65, 12
WORDS = ["film", "good", "bad", "the", "a", "of", "it", "was"]
EPOCH_BATCHES = 64  # samples of like length are found among so many batches'
LOWERED = "reference, bfloat16"


@dataclass(frozen=True, slots=True)
class System:
    """What is measured: a name, a prompt layout, a dtype, and whether it runs as the released code does."""

    name: str
    layout: str
    dtype: str
    released: bool


def systems() -> list[System]:
    """The references, then msakit's two layouts."""
    references = [System("reference", "paper", "float32", released=True)]
    if computes_bfloat16(torch.device("cpu")):
        references.append(System(LOWERED, "paper", "bfloat16", released=True))
    return [*references, *(System(layout, layout, "auto", released=False) for layout in ("paper", "late"))]


def make_pipeline(backbone: str, system: System) -> Any:
    registry = load_registry(discover=False)
    content = {
        "dataset": {"name": "mosei", "features": WIDTHS},
        "encoders": {
            "audio": {"name": "lstm", "hidden_size": 32},
            "vision": {"name": "lstm", "hidden_size": 16},
        },
        "fuser": "tgm",
        "injector": "pseudo4",
        "backbone": {"name": backbone, "dtype": system.dtype},
        "prompt": {"layout": system.layout},
    }
    torch.manual_seed(0)
    return build_pipeline(resolve(parse_pipeline(content, "benchmark"), registry), registry, widths=WIDTHS)


def make_batches(number: int, size: int) -> list[Batch]:
    """Random samples with MELD's lengths: texts of 12 tokens in the mean, 65 at most.

    As in every training of msakit's, samples of like length stand together; the reference pads all alike.
    """
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.geometric(1 / MEAN_TEXT, size * EPOCH_BATCHES), 1, LONGEST_TEXT)
    batches = shuffled_batches(np.arange(len(lengths)), lengths, size, seed=0, epoch=0)
    return [make_batch(generator, lengths[rows]) for rows in batches[:number]]


def make_batch(generator: np.random.Generator, lengths: NDArray[np.int64]) -> Batch:
    """Samples whose texts have these numbers of tokens."""
    size = len(lengths)
    texts = [" ".join(generator.choice(WORDS, length)) for length in lengths]
    modalities = {
        name: Sequence(
            torch.from_numpy(generator.normal(size=(size, frames, WIDTHS[name])).astype(np.float32)),
            torch.from_numpy(generator.integers(1, frames + 1, size)),
        )
        for name, frames in FRAMES.items()
    }
    labels = np.round(generator.uniform(-3, 3, size), 1).tolist()
    return Batch([str(i) for i in range(size)], texts, modalities, labels)


class Stepper:
    """One system with its own adapter and optimiser."""

    def __init__(self, system: System, backbone: str) -> None:
        self.pipeline = make_pipeline(backbone, system)
        self.model = ReferenceStep(self.pipeline, LONGEST_TEXT) if system.released else self.pipeline
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


def measure_memory(system: System, backbone: str, size: int, results: Any) -> None:
    """In a process of its own, with one thread: the peak of three steps over what was resident before."""
    torch.set_num_threads(1)
    stepper = Stepper(system, backbone)
    batches = make_batches(3, size)
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak of loading
    for batch in batches:
        stepper.step(batch)
    results.put(resident_bytes("VmHWM") - before)


def peak_memory(system: System, backbone: str, size: int) -> int:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=measure_memory, args=(system, backbone, size, results))
    process.start()
    peak = results.get()
    process.join()
    return int(peak)


def product_rate(pipeline: Any, tokens: int = 1024) -> float:
    """Floating-point operations a second of a product of so many tokens with a layer's widest matrix."""
    config = pipeline.backbone.language_model.config.get_text_config()
    dtype = pipeline.backbone.dtype
    states = torch.ones(tokens, config.hidden_size, dtype=dtype)
    weights = torch.ones(config.hidden_size, config.intermediate_size, dtype=dtype)
    started = time.perf_counter()
    torch.mm(states, weights)
    return 2 * states.numel() * weights.shape[1] / (time.perf_counter() - started)


@dataclass
class Timings:
    """Seconds of one system's steps in two passes and of its evaluations, and what products reached."""

    steps: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    evaluations: list[float] = field(default_factory=list)
    unreadable: int = 0
    product_rate: float = 0.0


def measure(steppers: dict[str, Stepper], batches: list[Batch]) -> dict[str, Timings]:
    """Every system on every batch, one after the other, twice; then every evaluation.

    Two passes: in the first, the late layout fills its cache of frozen prefixes; training goes round the
    same samples many times, so the second is what an epoch costs.
    """
    found = {name: Timings() for name in steppers}
    for epoch, batch, (name, stepper) in itertools.product(range(2), batches, steppers.items()):
        found[name].steps[epoch].append(stepper.step(batch))
        found[name].product_rate = max(found[name].product_rate, product_rate(stepper.pipeline))
    for batch, (name, stepper) in itertools.product(batches, steppers.items()):
        seconds, unreadable = stepper.evaluate(batch)
        found[name].evaluations.append(seconds)
        found[name].unreadable += unreadable
    return found


def ratio(reference: list[float], own: list[float]) -> float:
    """The median over pairs of how many times faster than the reference."""
    return statistics.median(r / t for r, t in zip(reference, own, strict=True))


def row_of(name: str, found: dict[str, Timings], size: int) -> dict[str, Any]:
    """A system's figures; the ratios to the reference in bfloat16 stay out where there is none."""
    own, released = found[name], found["reference"]
    lowered = found.get(LOWERED)
    return {
        "system": name,
        "train_samples_per_s": size / statistics.median(own.steps[1]),
        "train_ratio_first_epoch": ratio(released.steps[0], own.steps[0]),
        "train_ratio": ratio(released.steps[1], own.steps[1]),
        "train_ratio_bfloat16": ratio(lowered.steps[1], own.steps[1]) if lowered else None,
        "evaluation_samples_per_s": size / statistics.median(own.evaluations),
        "evaluation_ratio": ratio(released.evaluations, own.evaluations),
        "evaluation_ratio_bfloat16": ratio(lowered.evaluations, own.evaluations) if lowered else None,
        "unreadable": own.unreadable,
    }


def utilisation(stepper: Stepper, own: Timings, batches: list[Batch]) -> float:
    """The median share of the products' rate that steps of the second pass reach."""
    peak = own.product_rate
    rates = [stepper.operations(b) / t for b, t in zip(batches, own.steps[1], strict=True)]
    return statistics.median(rates) / peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=1, help="one, as each process of a quick start has on two cores"
    )
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = arguments.batch_size
    measured = systems()
    steppers = {system.name: Stepper(system, arguments.backbone) for system in measured}
    batches = make_batches(arguments.rounds, size)
    found = measure(steppers, batches)
    rows = []
    for system in measured:
        used = utilisation(steppers[system.name], found[system.name], batches)
        peak = peak_memory(system, arguments.backbone, size)
        rows.append({**row_of(system.name, found, size), "utilisation": used, "peak_bytes": peak})
    rates = {str(s.pipeline.backbone.dtype): found[name].product_rate for name, s in steppers.items()}
    report(rows, arguments, rates)


COLUMNS = {
    "system": "system",
    "train_samples_per_s": "train samples/s",
    "train_ratio_first_epoch": "ratio, first epoch",
    "train_ratio": "ratio",
    "train_ratio_bfloat16": "to bfloat16",
    "utilisation": "utilisation",
    "evaluation_samples_per_s": "evaluation samples/s",
    "evaluation_ratio": "ratio",
    "evaluation_ratio_bfloat16": "to bfloat16",
    "unreadable": "unreadable",
    "peak_bytes": "peak memory (MB)",
}


def cell(value: Any) -> str:
    """A figure as the table shows it."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def report(rows: list[dict[str, Any]], arguments: argparse.Namespace, rates: dict[str, float]) -> None:
    """Print the table; with --output, write the figures and where they come from."""
    reached = ", ".join(f"{rate / 1e9:.0f} GFLOPS in {name[6:]}" for name, rate in sorted(rates.items()))
    settings = f"{arguments.backbone}, batch {arguments.batch_size}, threads: {arguments.threads}"
    print(f"{settings}; products reach {reached}\n")
    print("| " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * len(COLUMNS) + "|")
    for row in rows:
        shown = {**row, "peak_bytes": round(row["peak_bytes"] / 1e6)}
        print("| " + " | ".join(cell(shown[key]) for key in COLUMNS) + " |")
    if arguments.output:
        content = {
            "rows": rows,
            "product_rates": rates,
            "settings": vars(arguments) | {"output": None},
            **collect(seed=0, data={}),
        }
        arguments.output.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
