"""The baselines under the contract."""

from __future__ import annotations

import copy
from typing import ClassVar

from msakit.testing.contracts import EncoderContract, FuserContract, InjectorContract, Silent

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
    silent_when_absent = ("streams.norms.{name}",)
    settings: ClassVar = {"size": 16, "dropout": 0.1}
    modality_sizes: ClassVar = {"audio": 8, "vision": 24}


class TestPlainConcat(TestConcat):
    settings: ClassVar = {"size": 16, "normalise": False}


class TestSum(FuserContract):
    target = f"{BASELINES}.pooled:SumFusion"
    config = f"{BASELINES}.config:SumConfig"
    silent_when_absent = ("projections.{name}",)
    settings: ClassVar = {"size": 16}
    modality_sizes: ClassVar = {"audio": 8, "vision": 24}


class TestTFN(FuserContract):
    target = f"{BASELINES}.tensor:TensorFusion"
    config = f"{BASELINES}.config:TFNConfig"
    silent_when_absent = ("subnets.layers.{name}",)
    settings: ClassVar = {"subnet_size": 4, "size": 16}


class TestLMF(FuserContract):
    target = f"{BASELINES}.tensor:LowRankFusion"
    config = f"{BASELINES}.config:LMFConfig"
    silent_when_absent = ("subnets.layers.{name}",)
    settings: ClassVar = {"subnet_size": 6, "size": 16, "rank": 2}


class TestMulT(FuserContract):
    target = f"{BASELINES}.mult:MultimodalTransformer"
    config = f"{BASELINES}.config:MulTConfig"
    settings: ClassVar = {"size": 8, "output_size": 16, "num_heads": 2, "num_layers": 2}

    def fuse_without(self, component, batch, name):
        """As a source it adds nothing to its targets; as a target it is zeros."""
        silent = copy.deepcopy(component)
        streams = ["text", *self.modality_sizes]
        for other in (stream for stream in streams if stream != name):
            sources = [stream for stream in streams if stream != other]
            for layer in silent.targets[other].crossmodal[sources.index(name)].layers:
                layer.attention = Silent(layer.attention)
        silent.targets[name] = Silent(silent.targets[name])
        return self.fuse(silent, batch).tokens


class TestMulTOfOneModality(TestMulT):
    modality_sizes: ClassVar = {"audio": 16}
