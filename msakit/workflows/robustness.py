"""How a run's metric falls as modalities go missing from more and more of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msakit.evaluation.ablation import Ablation
from msakit.evaluation.evaluate import evaluate, score
from msakit.metrics import validation_metric
from msakit.samples.order import BatchLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from msakit.samples.samples import Samples
    from msakit.workflows.load import TrainedRun

ALL = "all"
"""The curve in which every stream goes missing, each from samples of its own."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The metric against the missing rate of one stream (or of all).

    Attributes:
        stream: "text", a modality, or "all".
        mean: Metric at each rate, mean over seeds.
        deviation: Standard deviation over seeds; 0 for one seed.
    """

    stream: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Robustness:
    """Curves of one run on one split: the metric's name, the missing rates, one curve a stream."""

    split: str
    num_samples: int
    metric: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    curves: tuple[Curve, ...]


def streams_of(trained: TrainedRun) -> list[str]:
    """What can go missing: each stream the run reads, then all of them at once."""
    text = ["text"] if trained.resolved.config.prompt.text else []
    streams = [*text, *trained.resolved.encoders]
    return [*streams, ALL] if len(streams) > 1 else streams


def measure_robustness(
    trained: TrainedRun,
    samples: Samples,
    rows: NDArray[np.int64],
    *,
    split: str,
    rates: Sequence[float],
    seeds: Sequence[int],
    on_batch: Callable[[int], None] | None = None,
) -> Robustness:
    """Evaluate the rows at every missing rate, stream by stream.

    Args:
        trained: The run.
        samples: Where the samples come from.
        rows: Which samples.
        split: Their split, for the record.
        rates: Shares of the samples a stream is taken from, 0 to 1.
        seeds: Of which samples these are; curves are means over them.
        on_batch: Called with the number of samples done after each batch of each evaluation.
    """
    training = trained.resolved.config.training
    metric = validation_metric(trained.resolved.dataset.metrics).name

    def measure(streams: Sequence[str], rate: float, seed: int) -> float:
        predictions, _ = evaluate(
            trained.pipeline,
            samples,
            rows,
            BatchLimits(training.evaluation_batch_size, training.max_batch_tokens),
            generate=trained.resolved.config.answers.decode == "generate",
            ablations=[Ablation(stream, rate=rate, seed=seed) for stream in streams],
            on_batch=on_batch,
        )
        return score(predictions, trained.resolved.dataset)[metric]

    every = streams_of(trained)
    curves = []
    for stream in every:
        members = [name for name in every if name != ALL] if stream == ALL else [stream]
        values = np.array([[measure(members, rate, seed) for seed in seeds] for rate in rates])
        mean, deviation = (
            values.mean(axis=1).tolist(),
            values.std(axis=1, ddof=min(1, len(seeds) - 1)).tolist(),
        )
        curves.append(Curve(stream, tuple(mean), tuple(deviation)))
    return Robustness(split, len(rows), metric, tuple(rates), tuple(seeds), tuple(curves))
