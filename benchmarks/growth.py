"""How time and memory grow with samples, text, frames, batch and vocabulary.

    python benchmarks/growth.py                          # prints a table; about three minutes on a core
    python benchmarks/growth.py --picture docs/images/growth.svg

Every point is measured in a process of its own with one thread, in float32: processor seconds of a training
step (median of three), or of checking a split's features and of an epoch; and the largest resident set less
what the process held with every library loaded. Weights are random where only the shape matters, which is
everywhere but with the batch: SmolLM2-135M.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import status

from msakit.core.pipeline.batch import Batch
from msakit.core.pipeline.builder import build_pipeline
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry
from msakit.core.tensors import Sequence
from msakit.feature_store import FeatureSet, FeatureStore, Sample, SampleTable, sample_key
from msakit.plugins.backbones.architecture import build_random
from msakit.plugins.backbones.causal_lm import CausalLM
from msakit.plugins.backbones.codecs import ByteCodec
from msakit.reports.figures import BLUE, GREY, ORANGE, draw_all
from msakit.samples.order import shuffled_batches
from msakit.samples.samples import Samples

WIDTH, FRAMES, STEPS, LONGEST_TEXT = 16, 16, 3, 4096
DATASET = {"name": "mosei", "features": {"audio": WIDTH}}
QWEN = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True)
class Point:
    """A measurement: processor seconds by what took them, and peak memory in MiB."""

    x: int
    seconds: dict[str, float]
    memory: float


@dataclass(frozen=True)
class Shape:
    """A training step's sizes; text in characters, which are tokens to a random backbone."""

    text: int = 32
    frames: int = FRAMES
    batch: int = 8
    vocabulary: int = 4096
    backbone: str = "qwen"


def make_pipeline(shape: Shape, dataset: Any) -> tuple[Any, Any]:
    """A pipeline of the paper layout with one modality, and how it was resolved."""
    registry = load_registry(discover=False)
    content = {
        "dataset": dataset,
        "encoders": {"audio": {"name": "lstm", "hidden_size": 32}},
        "fuser": "tgm",
        "injector": "pseudo4",
        "backbone": "tiny" if shape.backbone == "qwen" else shape.backbone,
        "prompt": {"task": "Score:", "max_text_tokens": LONGEST_TEXT},
    }
    resolved = resolve(parse_pipeline(content, "benchmark"), registry)
    backbone = None
    if shape.backbone == "qwen":
        model = build_random(QWEN | {"vocab_size": shape.vocabulary}, seed=0)
        backbone = CausalLM(model, ByteCodec(), start_ids=[])
    return build_pipeline(resolved, registry, widths={"audio": WIDTH}, backbone=backbone), resolved


def make_batch(shape: Shape) -> Batch:
    generator = np.random.default_rng(0)
    values = torch.from_numpy(generator.normal(size=(shape.batch, shape.frames, WIDTH)).astype(np.float32))
    audio = Sequence(values, torch.full((shape.batch,), shape.frames))
    labels = np.round(generator.uniform(-3, 3, shape.batch), 1).tolist()
    ids = [str(index) for index in range(shape.batch)]
    return Batch(ids, [("a film " * shape.text)[: shape.text]] * shape.batch, {"audio": audio}, labels)


def train(pipeline: Any, optimizer: Any, batch: Batch) -> None:
    torch.autograd.backward(pipeline(batch))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def processor_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_step(shape: Shape, x: int) -> Point:
    """One training step of a shape."""
    before = status("VmRSS")
    pipeline, _ = make_pipeline(shape, DATASET)
    optimizer = torch.optim.AdamW(pipeline.trainable_parameters().values())
    pipeline.train()
    batch = make_batch(shape)
    step = partial(train, pipeline, optimizer, batch)
    step()
    seconds = statistics.median(processor_seconds(step) for _ in range(STEPS))
    return Point(x, {"step": seconds}, status("VmHWM") - before)


def measure_samples(count: int, x: int) -> Point:
    """Checking the features of a store's training split, and an epoch over it."""
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", count)
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # what writing the store took is over
        pipeline, resolved = make_pipeline(Shape(backbone="tiny"), DATASET)
        samples = Samples.open(store, resolved)
        scan = processor_seconds(lambda: samples.scan("train"))
        optimizer = torch.optim.AdamW(pipeline.trainable_parameters().values())
        pipeline.train()

        def epoch() -> None:
            rows = samples.rows("train")
            for part in shuffled_batches(rows, samples.text_lengths(rows), 32, seed=0, epoch=0):
                train(pipeline, optimizer, samples.batch(part))

        return Point(x, {"check": scan, "epoch": processor_seconds(epoch)}, status("VmHWM") - before)


def write_store(path: Path, count: int) -> Path:
    """A store of so many training samples."""
    generator = np.random.default_rng(0)
    store = FeatureStore.create(path)
    audio = FeatureSet("audio", "numbers@1", WIDTH)
    rows = []
    with store.writer(audio) as writer:
        for index in range(count):
            key = sample_key(index.to_bytes(32, "little"))
            writer.put(key, generator.normal(size=(FRAMES, WIDTH)).astype(np.float32))
            label = float(index % 7 - 3)
            rows.append(Sample(f"{index}", "train", text="a fine film", label=label, features={"audio": key}))
    store.refresh()
    store.write_table("mosei", SampleTable.from_samples(rows, {"audio": audio.fingerprint}))
    return path


Measure = Callable[[int], Point]
CURVES: dict[str, tuple[tuple[int, ...], Measure]] = {
    "samples": ((1000, 4000, 16000), lambda x: measure_samples(x, x)),
    "text tokens": ((64, 256, 1024, 4096), lambda x: measure_step(Shape(text=x, batch=2), x)),
    "frames": ((64, 256, 1024, 4096), lambda x: measure_step(Shape(frames=x), x)),
    "batch": ((1, 4, 16), lambda x: measure_step(Shape(batch=x, backbone="smollm2-135m"), x)),
    "vocabulary": ((4096, 32768, 151936), lambda x: measure_step(Shape(vocabulary=x), x)),
}


def run(name: str, x: int) -> Point:
    load_libraries()  # those the parent has loaded, mapped into this process too
    return CURVES[name][1](x)


def load_libraries() -> None:
    """Run a small pipeline, so that what is loaded on first use is loaded before the first fork."""
    torch.set_num_threads(1)
    pipeline, _ = make_pipeline(Shape(), DATASET)
    pipeline(make_batch(Shape())).backward()


def exponent(xs: list[int], values: list[float]) -> float:
    """Of the power law through the last two points: 1 is linear growth, 0 none, 2 quadratic."""
    return math.log(values[-1] / values[-2]) / math.log(xs[-1] / xs[-2])


def print_curve(name: str, points: list[Point]) -> None:
    xs = [point.x for point in points]
    columns = {f"{key} (s)": [point.seconds[key] for point in points] for key in points[0].seconds}
    columns["memory (MiB)"] = [point.memory for point in points]
    for column, values in columns.items():
        cells = ", ".join(f"{value:.3g}" for value in values)
        places = ", ".join(f"{x:,}" for x in xs)
        print(f"| {name}: {places} | {column} | {cells} | {exponent(xs, values):.2f} |", flush=True)


def shortened(count: int) -> str:
    return f"{count / 1000:.0f}k" if count >= 1000 else str(count)


def picture(curves: dict[str, list[Point]]) -> str:
    """Time above, memory below, both axes logarithmic; the grey line grows linearly."""

    def paint(canvas: Any) -> None:
        axes = canvas.subplots(2, len(curves))
        for column, (name, points) in enumerate(curves.items()):
            xs = [point.x for point in points]
            for key, color in zip(points[0].seconds, (BLUE, ORANGE), strict=False):
                values = [point.seconds[key] for point in points]
                axes[0, column].plot(xs, values, color=color, marker="o", markersize=4, label=key)
            memory = [point.memory for point in points]
            axes[1, column].plot(xs, memory, color=BLUE, marker="o", markersize=4)
            for row, last in ((0, list(points[-1].seconds.values())[-1]), (1, memory[-1])):
                line = [last * x / xs[-1] for x in xs]
                axes[row, column].plot(xs, line, color=GREY, linestyle=":", zorder=0)
                axes[row, column].set(xscale="log", yscale="log")
                axes[row, column].set_xticks(xs, [shortened(x) for x in xs])
                axes[row, column].minorticks_off()
                axes[row, column].yaxis.set_major_formatter("{x:g}")
            axes[1, column].set(xlabel=name)
            if len(points[0].seconds) > 1:
                axes[0, column].legend(frameon=False)
        axes[0, 0].set(ylabel="processor seconds")
        axes[1, 0].set(ylabel="memory (MiB)")

    return draw_all(paint, width=13, height=5.2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curves", nargs="*", choices=[*CURVES], default=[*CURVES])
    parser.add_argument("--picture", type=Path, help="where the drawing goes")
    options = parser.parse_args()
    load_libraries()
    print("| with | what | values | exponent |\n|---|---|---|---|", flush=True)
    curves = {}
    for name in options.curves:
        points = []
        for x in CURVES[name][0]:
            with multiprocessing.get_context("fork").Pool(1) as pool:
                points.append(pool.apply(run, (name, x)))
        curves[name] = points
        print_curve(name, points)
    if options.picture:
        options.picture.write_text(picture(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
