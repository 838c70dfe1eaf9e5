"""Tests for components, shipped so that plugin authors can run them on theirs.

from msakit.testing.contracts import FuserContract

class TestMyFuser(FuserContract):
    target = "my_package.fuser:MyFuser"
    config = "my_package.config:MyFuserConfig"
    settings = {"size": 16}
"""
