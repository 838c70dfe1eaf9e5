"""The fuser under msakit's contract, and what only it does."""

from __future__ import annotations

from typing import ClassVar

import torch
from msakit_gated.fuser import GatedFusion

from msakit import Encoded, Sequence
from msakit.testing import FuserContract


class TestGatedFusion(FuserContract):
    """Every rule of fusers."""

    target = "msakit_gated.fuser:GatedFusion"
    config = "msakit_gated.config:GatedConfig"
    settings: ClassVar = {"size": 8}
    silent_when_absent = ("contents.{name}",)  # an absent modality's part of the sum is zero


def test_a_closed_gate_shuts_its_stream_out() -> None:
    torch.manual_seed(0)
    fuser = GatedFusion({"audio": 4}, text_size=6, size=8)
    torch.nn.init.constant_(fuser.gates["audio"].bias, -1e4)
    text = Sequence(torch.randn(2, 3, 6), torch.tensor([3, 1]))
    encoded = Encoded(torch.tensor([True, True]), summary=torch.randn(2, 4))
    gated = fuser(text, {"audio": encoded})
    torch.nn.init.zeros_(fuser.contents["audio"].weight)
    torch.nn.init.zeros_(fuser.contents["audio"].bias)
    assert torch.equal(gated.tokens, fuser(text, {"audio": encoded}).tokens)
    assert torch.equal(gated.diagnostics["gate"][:, 1], torch.zeros(2))
    assert (gated.diagnostics["gate"][:, 0] > 0).all()
