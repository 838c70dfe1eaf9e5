"""Gradient checkpointing: a layer's activations are computed again for its backward pass, not kept.

Unlike transformers' own switch it works on a frozen backbone, which is never in training mode, and behind
cached prefixes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import PreTrainedModel

    from .prefix import PrefixStates


def recompute_layers(model: PreTrainedModel) -> None:
    """Let every decoder layer keep nothing but its input; costs about a third more time.

    Raises:
        InputError: The model's layers are not where they are looked for.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise InputError(
            f"Models of type '{model.config.model_type}' cannot be trained with gradient checkpointing.",
            hint="Set backbone.gradient_checkpointing: false.",
        )
    for layer in layers:
        layer.forward = _recomputed(layer.forward)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **options)
        return checkpoint(forward, *arguments, use_reentrant=False, **options)

    return call


class FixedPrefix(DynamicCache):  # type: ignore[misc]  # transformers is not typed
    """Keys and values that what follows may look at, but does not add to: a layer may be run twice.

    No layer's are held beyond its own turn, except by autograd.

    Args:
        prefix: The keys and values.
    """

    def __init__(self, prefix: PrefixStates) -> None:
        super().__init__()
        self._prefix = prefix

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """P, of every layer."""
        return self._prefix.width

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """The layer's prefix with the new keys and values behind it."""
        keys, values = self._prefix.layer(layer_idx)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)
