"""CMPTA's components under the contract."""

from __future__ import annotations

from typing import ClassVar

import torch

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

    def fuse_without(self, component, batch, name):
        """Pairs with it are zero tokens; the others are those of the fuser without that modality."""
        tokens = torch.zeros_like(self.fuse(component, batch).tokens)
        kept = [index for index, pair in enumerate(component.pairs) if name not in pair]
        if kept:
            tokens[:, kept] = self.fuse(self.smaller(component, kept, name), batch).tokens
        return tokens

    def smaller(self, component, kept, name):
        """The same fuser built without a modality, with the weights of the pairs that are left."""
        contract = type(self)()
        contract.modality_sizes = {n: width for n, width in self.modality_sizes.items() if n != name}
        small, weights = contract.construct(), component.state_dict()
        for key in small.state_dict():
            part, _, rest = key.partition(".")
            if part in ("attentions", "pools"):
                index, _, rest = rest.partition(".")
                small.state_dict()[key].copy_(weights[f"{part}.{kept[int(index)]}.{rest}"])
            else:
                small.state_dict()[key].copy_(weights[key])
        return small.eval()


class TestQueryPooledCMPTA(TestCMPTA):
    settings: ClassVar = {"size": 16, "num_heads": 4, "pooling": "query", "num_layers": 2}


class TestCMPTAWithoutSelfAttention(TestCMPTA):
    settings: ClassVar = {"size": 16, "num_heads": 4, "num_layers": 0}


class TestCMPTAOfUnequalWidths(TestCMPTA):
    modality_sizes: ClassVar = {"vision": 8, "audio": 24}


class TestCMPTAOfOneModality(TestCMPTA):
    modality_sizes: ClassVar = {"audio": 16}
