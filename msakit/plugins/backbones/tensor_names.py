"""Renaming a family's tensors to those of transformers' models, and cutting what it keeps in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from msakit.core.errors import InputError

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from torch import Tensor

Named = tuple[str, "Tensor"]


@dataclass(frozen=True, slots=True)
class TensorNames:
    """How a family names its tensors.

    Attributes:
        family: For messages.
        layer: Matches a tensor of a decoder layer: its number, its stem, and weight or bias.
        names: Stem in the checkpoint to stem in the model; without the layer's number.
        fused: The stem that holds query, key and value in one.
        computed: How names of tensors end that the model computes itself.
    """

    family: str
    layer: re.Pattern[str]
    names: Mapping[str, str]
    fused: str
    computed: str

    def convert(self, name: str, tensor: Tensor, rows: tuple[int, int, int]) -> list[Named]:
        """One tensor of the checkpoint to tensors of the model.

        Args:
            name: Its name in the checkpoint.
            tensor: Its values.
            rows: How many rows of a fused tensor are query, key and value.

        Raises:
            InputError: The family has no such tensor.
        """
        if name.endswith(self.computed):
            return []
        layer = self.layer.match(name)
        if layer is None:
            stem, _, kind = name.rpartition(".")
            return [(f"{self._rename(stem)}.{kind}", tensor)]
        index, stem, kind = layer.groups()
        start = f"model.layers.{index}"
        if stem == self.fused:
            pieces = torch.split(tensor, list(rows))
            return [
                (f"{start}.self_attn.{part}_proj.{kind}", piece)
                for part, piece in zip("qkv", pieces, strict=True)
            ]
        return [(f"{start}.{self._rename(stem)}.{kind}", tensor)]

    def _rename(self, stem: str) -> str:
        if stem not in self.names:
            raise InputError(f"'{stem}' is no part of a {self.family} checkpoint.")
        return self.names[stem]
