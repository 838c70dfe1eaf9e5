"""How a run's metric falls as modalities go missing from more and more of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msakit.evaluation.ablation import Ablation
from msakit.evaluation.evaluate import score
from msakit.metrics import validation_metric
from msakit.workflows.evaluate import evaluate_rows

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


def losses_of(trained: TrainedRun) -> list[str]:
    """The inputs that can go missing: each stream the run reads, then all of them at once."""
    return [*trained.streams, ALL] if len(trained.streams) > 1 else list(trained.streams)


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
    metric = validation_metric(trained.resolved.dataset.metrics).name

    def measure(streams: Sequence[str], rate: float, seed: int) -> float:
        ablations = [Ablation(stream, rate=rate, seed=seed) for stream in streams]
        predictions, _ = evaluate_rows(trained, samples, rows, ablations=ablations, on_batch=on_batch)
        return score(predictions, trained.resolved.dataset)[metric]

    curves = []
    for stream in losses_of(trained):
        members = trained.streams if stream == ALL else (stream,)
        values = np.array([[measure(members, rate, seed) for seed in seeds] for rate in rates])
        deviation = values.std(axis=1, ddof=min(1, len(seeds) - 1))
        curves.append(Curve(stream, tuple(values.mean(axis=1).tolist()), tuple(deviation.tolist())))
    return Robustness(split, len(rows), metric, tuple(rates), tuple(seeds), tuple(curves))
