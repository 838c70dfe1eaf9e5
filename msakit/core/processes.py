"""Which of the training's processes this is, and what they tell each other; one process is alone.

`accelerate launch` and `torchrun` start several and say so in the environment. All of them run the same
program: one writes, all compute.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msakit.core.errors import MsakitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

Result = TypeVar("Result")
_UNSUPPORTED = {
    "FSDP": "ACCELERATE_USE_FSDP",
    "DeepSpeed": "ACCELERATE_USE_DEEPSPEED",
    "Megatron-LM": "ACCELERATE_USE_MEGATRON_LM",
}


def join(*, cpu: bool) -> None:
    """Meet the other processes, if there are any; the first thing a distributed program does.

    Args:
        cpu: Whether they compute on CPUs.

    Raises:
        MsakitError: They cannot compute together on this kind of device, or as they were launched to.
    """
    if asked := [name for name, variable in _UNSUPPORTED.items() if os.environ.get(variable) == "true"]:
        raise MsakitError(
            f"{asked[0]} is not supported: every process holds the whole backbone, gradients go by DDP.",
            hint="Launch without it (accelerate launch --multi_gpu ...); docs/training.md says why, and "
            "what saves memory instead.",
        )
    if _launched():
        from accelerate import PartialState

        if PartialState(cpu=cpu).num_processes != int(os.environ["WORLD_SIZE"]):
            raise MsakitError(
                f"{os.environ['WORLD_SIZE']} processes were started, but they cannot compute together here.",
                hint="Start one process alone, or set backbone.device: cpu.",
            )


def count() -> int:
    """How many processes train together."""
    import torch.distributed as group

    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0 on; known before they have met."""
    return int(os.environ.get("RANK", "0")) if _launched() else 0


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def _launched() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def gather(value: Any) -> list[Any]:
    """Every process's value, in the order of their numbers; all of them must call it."""
    if count() == 1:
        return [value]
    import torch.distributed as group

    values: list[Any] = [None] * count()
    group.all_gather_object(values, value)
    return values


def on_main(function: Callable[[], Result]) -> Result:
    """Run something in the process that writes while the others wait; all get its result, or its error."""
    if count() == 1:
        return function()
    result: Any = None
    error: Exception | None = None
    if is_main():
        try:
            result = function()
        except Exception as raised:  # noqa: BLE001 - raised again below, in every process
            error = raised
    told: list[Any] = [(result, error)]
    import torch.distributed as group

    group.broadcast_object_list(told, src=0)
    result, error = told[0]
    if error is not None:
        raise error
    return cast("Result", result)


def share(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the process that writes."""
    if count() > 1:
        import torch.distributed as group

        for tensor in tensors:
            group.broadcast(tensor, src=0)
