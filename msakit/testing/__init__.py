"""Tests for components, shipped so that plugin authors can run them on theirs.

from msakit.testing import FuserContract

class TestMyFuser(FuserContract):
    target = "my_package.fuser:MyFuser"
    config = "my_package.config:MyFuserConfig"
    settings = {"size": 16}
"""

from msakit.testing.backbones import BackboneContract
from msakit.testing.comparison import assert_close, assert_matches_golden, read_golden
from msakit.testing.contracts import EncoderContract, FuserContract, InjectorContract

__all__ = [
    "BackboneContract",
    "EncoderContract",
    "FuserContract",
    "InjectorContract",
    "assert_close",
    "assert_matches_golden",
    "read_golden",
]
