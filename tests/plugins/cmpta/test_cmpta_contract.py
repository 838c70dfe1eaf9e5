"""CMPTA's components under the contract."""

from __future__ import annotations

from typing import ClassVar

from msakit.testing.contracts import EncoderContract, FuserContract

CONFIG = "msakit.plugins.cmpta.config"


class TestBiLSTM(EncoderContract):
    target = "msakit.plugins.cmpta.encoder:BiLSTMEncoder"
    config = f"{CONFIG}:BiLSTMConfig"
    settings: ClassVar = {"hidden_size": 6, "output_size": 16}
    gives = ("summary", "sequence")


class TestDeepBiLSTM(TestBiLSTM):
    settings: ClassVar = {"hidden_size": 6, "output_size": 16, "num_layers": 2}


class TestUnidirectional(TestBiLSTM):
    settings: ClassVar = {"hidden_size": 6, "output_size": 16, "bidirectional": False}


class TestCMPTA(FuserContract):
    target = "msakit.plugins.cmpta.fuser:CrossModalTokens"
    config = f"{CONFIG}:CMPTAConfig"
    settings: ClassVar = {"size": 16, "num_heads": 4}


class TestQueryPooledCMPTA(TestCMPTA):
    settings: ClassVar = {"size": 16, "num_heads": 4, "pooling": "query", "num_layers": 2}


class TestCMPTAWithoutSelfAttention(TestCMPTA):
    settings: ClassVar = {"size": 16, "num_heads": 4, "num_layers": 0}


class TestCMPTAOfUnequalWidths(TestCMPTA):
    modality_sizes: ClassVar = {"vision": 8, "audio": 24}


class TestCMPTAOfOneModality(TestCMPTA):
    modality_sizes: ClassVar = {"audio": 16}
