"""The cost of a training as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from msakit.cli.render import print_json, print_table, print_text

if TYPE_CHECKING:
    from msakit.workflows.cost import Cost

MEGABYTE = 1 << 20


def show_cost(cost: Cost, *, as_json: bool) -> None:
    """Print memory by what takes it, and time by what is done."""
    if as_json:
        print_json({**asdict(cost), "memory": cost.memory, "longest_s": cost.longest_s})
        return
    step = f"{cost.step_samples} samples of up to {cost.step_tokens} tokens"
    memory = [
        ("backbone's weights", cost.weights),
        ("trained weights, gradients, optimiser", cost.trained),
        (f"activations of the heaviest step ({step})", cost.activations),
        ("freed blocks the allocator cannot use meanwhile", cost.gaps),
        ("gradients of its logits", cost.logits),
        ("prefix cache", cost.prefix_cache),
        ("together", cost.memory),
    ]
    print_table("", ("memory", "MiB"), [(name, megabytes(size)) for name, size in memory], right=("MiB",))
    times = [
        ("preparation, once", cost.prepare_s),
        ("an epoch", cost.epoch_s),
        ("its validation", cost.validation_s),
        (f"{cost.epochs} epochs, the most there can be", cost.longest_s),
    ]
    print_table("", ("time", "minutes"), [(name, minutes(s)) for name, s in times], right=("minutes",))
    print_text(
        "\nMemory is counted, tensor by tensor, with an allowance for the allocator; libraries come on top "
        "(docs/training.md). "
        "Time is scaled up from a few batches run just now."
    )


def megabytes(size: int) -> str:
    """Bytes as MiB."""
    return f"{size / MEGABYTE:,.0f}"


def minutes(seconds: float) -> str:
    """Seconds as minutes."""
    return f"{seconds / 60:,.1f}"
