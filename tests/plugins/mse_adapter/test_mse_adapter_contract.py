"""MSE-Adapter's components under the contract."""

from __future__ import annotations

from typing import ClassVar

from msakit.testing.contracts import EncoderContract, FuserContract, InjectorContract

CONFIG = "msakit.plugins.mse_adapter.config"


class TestLSTM(EncoderContract):
    target = "msakit.plugins.mse_adapter.encoder:LSTMEncoder"
    config = f"{CONFIG}:LSTMConfig"
    settings: ClassVar = {"hidden_size": 6, "output_size": 16, "dropout": 0.2}


class TestDeepLSTM(TestLSTM):
    settings: ClassVar = {"hidden_size": 6, "output_size": 16, "num_layers": 2}


class TestTGM(FuserContract):
    target = "msakit.plugins.mse_adapter.fuser:TextGuidedMixer"
    config = f"{CONFIG}:TGMConfig"
    silent_when_absent = ("normalise_modality.{name}",)


class TestNormalisedTGM(TestTGM):
    settings: ClassVar = {"normalise": True, "gate_activation": "tanh", "scales": (4, 8)}


class TestResidualTGM(TestTGM):
    settings: ClassVar = {"normalise": True, "residual": True}


class TestTGMWithoutItsParts(TestTGM):
    settings: ClassVar = {"text_guide": False, "scales": (), "normalise": True}


class TestTGMOfOneModality(TestTGM):
    modality_sizes: ClassVar = {"audio": 8}


class TestTGMOfThreeModalities(TestTGM):
    modality_sizes: ClassVar = {"audio": 8, "vision": 8, "physiology": 8}


class TestPseudo(InjectorContract):
    target = "msakit.plugins.mse_adapter.injector:PseudoTokens"
    config = f"{CONFIG}:PseudoConfig"
    settings: ClassVar = {"tokens": 4}


class TestScaledPseudo(TestPseudo):
    settings: ClassVar = {"tokens": 4, "rms": 0.1}


class TestPseudoAsTheyAre(TestPseudo):
    settings: ClassVar = {"tokens": 6}
    input_tokens = 6


class TestPseudoQueries(TestPseudo):
    settings: ClassVar = {"tokens": 5}
    input_tokens = 6


class TestLinearPseudo(TestPseudo):
    settings: ClassVar = {"tokens": 5, "expansion": "linear"}
    input_tokens = 6
