"""The estimate of `msakit inspect memory` against the memory that training steps take.

    python benchmarks/memory.py                          # SmolLM2-135M on the shipped corpus
    python benchmarks/memory.py --output memory.json

A process for each pipeline trains two steps on the heaviest batch of the first epoch, its prefix cache filled
as far as it is given memory. Measured is the largest resident set of that process from there on, less what it
held with every library loaded and no pipeline built; then the same process estimates.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
from pathlib import Path
from typing import Any

import msakit
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry

STORE = Path(msakit.__file__).parent / "data" / "demo.h5"
MEGABYTE = 1 << 20
STEPS = 2
CACHE_MB = 64
RULE = "|---|---|---|---|---|---|"
Setting = tuple[str, str, int]


def content(backbone: str, layout: str, adaptation: str, batch_size: int) -> dict[str, Any]:
    return {
        "dataset": "demo",
        "encoders": {"audio": "lstm", "vision": "lstm"},
        "fuser": "tgm",
        "injector": "pseudo4",
        "backbone": {"name": backbone, "adaptation": adaptation, "prefix_cache_mb": CACHE_MB},
        "prompt": {"layout": layout},
        "training": {"batch_size": batch_size},
    }


def measure(backbone: str, setting: Setting) -> tuple[dict[str, float], float]:
    """MiB by what is estimated to take them, and MiB that training took."""
    from msakit.core.pipeline.builder import build_pipeline
    from msakit.samples.samples import Samples
    from msakit.workflows.cost import Probe

    registry = load_registry(discover=False)
    resolved = resolve(parse_pipeline(content(backbone, *setting), "benchmark"), registry)
    samples = Samples.open(STORE, resolved)
    load_libraries(registry, samples)
    before = status("VmRSS")
    pipeline = build_pipeline(resolved, registry, widths=samples.widths)
    pipeline.prepare(samples.words())
    probe = Probe(pipeline, samples, resolved)
    Path("/proc/self/clear_refs").write_text("5")  # what loading took is over
    train(pipeline, samples.batch(probe.heaviest()))
    found = status("VmHWM") - before
    return {name: size / MEGABYTE for name, size in probe.memory().items()}, found


def load_libraries(registry: Any, samples: Any) -> None:
    """Train a step of a tiny model, so that what is loaded on first use is loaded."""
    from msakit.core.pipeline.builder import build_pipeline

    tiny = parse_pipeline(content("tiny", "late", "lora", 4), "benchmark")
    pipeline = build_pipeline(resolve(tiny, registry), registry, widths=samples.widths)
    train(pipeline, samples.batch(samples.rows("train")[:4]))


def train(pipeline: Any, batch: Any) -> None:
    import torch

    optimizer = torch.optim.AdamW(pipeline.trainable_parameters().values())
    pipeline.train()
    for _ in range(STEPS):
        torch.autograd.backward(pipeline(batch))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def status(key: str) -> float:
    """A number of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--layouts", nargs="*", default=["paper", "late"], choices=["paper", "late"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = []
    print(
        "| layout | backbone | batch | estimated (MiB) | measured (MiB) | error |\n|---|---|---|---|---|---|"
    )
    for setting in itertools.product(options.layouts, ("frozen", "lora"), (4, 16)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            parts, found = pool.apply(measure, (options.backbone, setting))
        total = sum(parts.values())
        error = total / found - 1
        print(
            f"| {setting[0]} | {setting[1]} | {setting[2]} | {total:.0f} | {found:.0f} | {error:+.1%} |",
            flush=True,
        )
        rows.append({"setting": setting, "estimated": parts, "measured": found, "error": error})
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
