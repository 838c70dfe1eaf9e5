"""EGMF's components under the contract."""

from __future__ import annotations

from typing import ClassVar

from msakit.testing.contracts import EncoderContract, FuserContract, InjectorContract

CONFIG = "msakit.plugins.egmf.config"


class TestAV(EncoderContract):
    target = "msakit.plugins.egmf.encoder:AVEncoder"
    config = f"{CONFIG}:AVConfig"
    settings: ClassVar = {"hidden_size": 6, "output_size": 16}
    gives = ("summary", "sequence")


class TestEGMF(FuserContract):
    target = "msakit.plugins.egmf.fuser:ExpertGuidedFusion"
    config = f"{CONFIG}:EGMFConfig"
    settings: ClassVar = {"size": 16}

    def fuse_without(self, component, batch, name):
        """The fuser built without that modality; nothing to compare with where it is the only one."""
        contract = type(self)()
        contract.modality_sizes = {n: width for n, width in self.modality_sizes.items() if n != name}
        if not contract.modality_sizes:
            return None
        small, weights = contract.construct(), component.state_dict()
        small.load_state_dict({key: weights[key] for key in small.state_dict()})
        return self.fuse(small.eval(), batch).tokens


class TestSingleStageEGMF(TestEGMF):
    settings: ClassVar = {"size": 16, "gate": "single_stage", "experts": ("local", "global")}


class TestStaticEGMF(TestEGMF):
    settings: ClassVar = {"size": 16, "gate": "static", "residual": False}


class TestEGMFOfOneModality(TestEGMF):
    modality_sizes: ClassVar = {"vision": 24}


class TestRepeat(InjectorContract):
    target = "msakit.plugins.egmf.injector:RepeatedTokens"
    config = f"{CONFIG}:RepeatConfig"
    settings: ClassVar = {"tokens": 3}


class TestRepeatBetweenLearnedTokens(TestRepeat):
    settings: ClassVar = {"tokens": 3, "prefix_tokens": 2, "suffix_tokens": 1}
    input_tokens = 2
