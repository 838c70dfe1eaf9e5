"""The baselines under the contract."""

from __future__ import annotations

from typing import ClassVar

from msakit.testing.contracts import EncoderContract, FuserContract, InjectorContract

BASELINES = "msakit.plugins.baselines"


class TestFrameEncoder(EncoderContract):
    target = f"{BASELINES}.encoder:FrameEncoder"
    config = f"{BASELINES}.config:FrameConfig"
    settings: ClassVar = {"output_size": 16, "dropout": 0.1}
    gives = ("summary", "sequence")


class TestNoFusion(FuserContract):
    target = f"{BASELINES}.constant:NoFusion"
    config = f"{BASELINES}.config:EmptyConfig"


class TestNoFusionWithoutModalities(TestNoFusion):
    modality_sizes: ClassVar = {}


class TestPrompt(FuserContract):
    target = f"{BASELINES}.constant:PromptFusion"
    config = f"{BASELINES}.config:PromptTuningConfig"
    settings: ClassVar = {"tokens": 3, "size": 16}


class TestNoInjection(InjectorContract):
    target = f"{BASELINES}.constant:NoInjection"
    config = f"{BASELINES}.config:EmptyConfig"
    input_tokens = 0


class TestConcat(FuserContract):
    target = f"{BASELINES}.pooled:ConcatFusion"
    config = f"{BASELINES}.config:ConcatConfig"
    settings: ClassVar = {"size": 16, "dropout": 0.1}
    modality_sizes: ClassVar = {"audio": 8, "vision": 24}


class TestPlainConcat(TestConcat):
    settings: ClassVar = {"size": 16, "normalise": False}


class TestSum(FuserContract):
    target = f"{BASELINES}.pooled:SumFusion"
    config = f"{BASELINES}.config:SumConfig"
    settings: ClassVar = {"size": 16}
    modality_sizes: ClassVar = {"audio": 8, "vision": 24}


class TestTFN(FuserContract):
    target = f"{BASELINES}.tensor:TensorFusion"
    config = f"{BASELINES}.config:TFNConfig"
    settings: ClassVar = {"subnet_size": 4, "size": 16}


class TestLMF(FuserContract):
    target = f"{BASELINES}.tensor:LowRankFusion"
    config = f"{BASELINES}.config:LMFConfig"
    settings: ClassVar = {"subnet_size": 6, "size": 16, "rank": 2}


class TestMulT(FuserContract):
    target = f"{BASELINES}.mult:MultimodalTransformer"
    config = f"{BASELINES}.config:MulTConfig"
    settings: ClassVar = {"size": 8, "output_size": 16, "num_heads": 2, "num_layers": 2}


class TestMulTOfOneModality(TestMulT):
    modality_sizes: ClassVar = {"audio": 16}
