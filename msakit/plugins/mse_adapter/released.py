"""Weights saved by the released MSE-Adapter code, under our names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msakit.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

# Released module and key -> our part and key. The 1x3 convolution over the three scales is a Linear.
_ENCODER = {"rnn.": "rnn.", "linear.": "projection."}
_FUSION = {
    "scale1.": "fusion.branches.0.",
    "scale2.": "fusion.branches.1.",
    "scale3.": "fusion.branches.2.",
    "integrating.Integrating_layer.0.": "fusion.mix.",
}
_KEYS = (
    {f"audio_encoder.{old}": ("encoders.audio", new) for old, new in _ENCODER.items()}
    | {f"vision_encoder.{old}": ("encoders.vision", new) for old, new in _ENCODER.items()}
    | {"text_guide_mixer.text_mlp.": ("fuser", "text_projection.")}
    | {f"multi_scale_fusion.{old}": ("fuser", new) for old, new in _FUSION.items()}
    | {"multi_scale_fusion.multi_scale_projector.": ("injector", "projection.")}
    | {"multi_scale_fusion.projector.": ("injector", "expansion.")}
)


def convert(released: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """State dicts of `encoders.audio`, `encoders.vision`, `fuser` and `injector`.

    Args:
        released: Tensors under the released keys, with or without a prefix before the module name.

    Raises:
        DataError: A key belongs to none of the adapter's modules.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in released.items():
        for old, (part, new) in _KEYS.items():
            prefix, found, rest = key.partition(old)
            if found and (not prefix or prefix.endswith(".")):
                value = tensor.reshape(1, -1) if tensor.dim() == 4 else tensor
                parts.setdefault(part, {})[new + rest] = value
                break
        else:
            msg = f"'{key}' is not a tensor of the released MSE-Adapter"
            raise DataError(msg, hint="Give the adapter's tensors only, without the language model's.")
    return parts
