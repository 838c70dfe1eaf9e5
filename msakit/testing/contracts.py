"""Test classes for plugin authors to inherit, one for each kind of component.

Subclass the contract of your component's kind in a pytest file, give `target` and `config` as the
registry has them, and small `settings`; pytest then runs every rule of `msakit.core.interfaces`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from msakit.core.interfaces import DiagnosedFuser
from msakit.core.tensors import Encoded, Fused, Sequence
from msakit.testing.batches import Batch, as_encoded, drop, random_batch, shorten, silence
from msakit.testing.comparison import assert_close
from msakit.testing.component import ComponentContract, Outputs, assert_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from msakit.core.interfaces import Diagnostic


class Silent(nn.Module):
    """A module whose every output is zeros.

    Args:
        module: What gives the outputs their shapes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """The module's outputs, as zeros."""
        outputs = self.module(*inputs, **settings)
        if isinstance(outputs, tuple):
            return tuple(None if output is None else torch.zeros_like(output) for output in outputs)
        return torch.zeros_like(outputs)


class EncoderContract(ComponentContract):
    """Rules of encoders.

    Attributes:
        gives: What the registry entry says it gives: "summary", "sequence" or both.
        input_size: Feature width to test with.
    """

    gives: tuple[str, ...] = ("summary",)
    input_size = 7

    def sizes(self) -> dict[str, Any]:
        """The feature width."""
        return {"input_size": self.input_size}

    def batch(self) -> Batch:
        """One modality."""
        return random_batch({"modality": self.input_size})

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Values and lengths."""
        return {"values": batch["modality"].values, "lengths": batch["modality"].lengths}

    def run(self, component: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Summary, or else sequence."""
        encoded: Encoded = component(Sequence(inputs["values"], inputs["lengths"]))
        made = encoded.summary if encoded.sequence is None else encoded.sequence.values
        assert made is not None
        return made

    def encode(self, component: nn.Module, batch: Batch) -> Encoded:
        """The component's forward."""
        encoded: Encoded = component(batch["modality"])
        return encoded

    def outputs(self, component: nn.Module, batch: Batch) -> Outputs:
        """The summary and the real frames of each sample."""
        encoded = self.encode(component, batch)
        outputs: Outputs = [{} for _ in batch["modality"].lengths]
        for index, sample in enumerate(outputs):
            if encoded.summary is not None:
                sample["summary"] = encoded.summary[index]
            if encoded.sequence is not None:
                sample["sequence"] = encoded.sequence.values[index, : int(encoded.sequence.lengths[index])]
        return outputs

    def test_gives_what_it_declares(self) -> None:
        """The declared forms, in the declared width, with as many frames as went in or fewer."""
        component, batch = self.build(), self.batch()
        encoded = self.encode(component, batch)
        width = component.output_size
        assert torch.equal(encoded.present, batch["modality"].present)
        assert ("summary" in self.gives) == (encoded.summary is not None)
        assert ("sequence" in self.gives) == (encoded.sequence is not None)
        if encoded.summary is not None:
            assert encoded.summary.shape == (4, width)
        if encoded.sequence is not None:
            assert encoded.sequence.values.shape[::2] == (4, width)
            assert (encoded.sequence.lengths <= batch["modality"].lengths).all()
            assert encoded.sequence.present.all()

    def test_an_absent_modality_is_zeros(self) -> None:
        """Zeros in the summary, length 0 in the sequence, present false; the others as before."""
        component, batch = self.build(), self.batch()
        expected = self.outputs(component, batch)
        without = drop(batch, ["modality"], [0, 2])
        encoded = self.encode(component, without)
        assert encoded.present.tolist() == [False, True, False, True]
        outputs = self.outputs(component, without)
        self.assert_same([outputs[1], outputs[3]], [expected[1], expected[3]])
        if encoded.summary is not None:
            assert torch.equal(encoded.summary[[0, 2]], torch.zeros_like(encoded.summary[[0, 2]]))
        if encoded.sequence is not None:
            assert encoded.sequence.lengths[[0, 2]].tolist() == [0, 0]

    def test_a_modality_absent_for_everyone(self) -> None:
        """With frames of garbage, and with no frame at all."""
        component = self.build()
        absent = drop(self.batch(), ["modality"])
        for batch in (absent, shorten(absent, 0)):
            encoded = self.encode(component, batch)
            assert not encoded.present.any()
            if encoded.summary is not None:
                assert torch.equal(encoded.summary, torch.zeros_like(encoded.summary))
            for name, gradient in self.gradients(component, batch).items():
                assert gradient is None or gradient.isfinite().all(), name


class FuserContract(ComponentContract):
    """Rules of fusers.

    Attributes:
        modality_sizes: Encoder widths to test with.
        text_size: Backbone width to test with.
        silent_when_absent: Submodules ("projections.{name}") whose outputs count as zeros where the modality
            is absent; without any, an absent modality is one of zeros.
    """

    modality_sizes: ClassVar[Mapping[str, int]] = {"audio": 16, "vision": 16}
    text_size = 32
    silent_when_absent: ClassVar[tuple[str, ...]] = ()

    def sizes(self) -> dict[str, Any]:
        """Encoder widths and backbone width."""
        return {"modality_sizes": dict(self.modality_sizes), "text_size": self.text_size}

    def batch(self) -> Batch:
        """Text and every modality."""
        return random_batch({"text": self.text_size, **self.modality_sizes})

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The text, and of each modality what encoders that give summary and sequence make of it."""
        given = {"text": batch["text"].values, "text_lengths": batch["text"].lengths}
        for name in self.modality_sizes:
            encoded = as_encoded(batch[name])
            assert encoded.summary is not None
            given |= {f"{name}_present": encoded.present, f"{name}_summary": encoded.summary}
            given |= {f"{name}_values": batch[name].values, f"{name}_lengths": batch[name].lengths}
        return given

    def run(self, component: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """The fused tokens."""
        return self._forward(component, inputs).tokens

    def _forward(self, component: nn.Module, inputs: Mapping[str, Tensor]) -> Fused:
        encoded = {
            name: Encoded(
                inputs[f"{name}_present"],
                inputs[f"{name}_summary"],
                Sequence(inputs[f"{name}_values"], inputs[f"{name}_lengths"]),
            )
            for name in self.modality_sizes
        }
        fused: Fused = component(Sequence(inputs["text"], inputs["text_lengths"]), encoded)
        return fused

    def fuse(self, component: nn.Module, batch: Batch) -> Fused:
        """The component's forward, behind encoders that give summary and sequence."""
        return self._forward(component, self.inputs(batch))

    def fuse_without(self, component: nn.Module, batch: Batch, name: str) -> Tensor | None:
        """The tokens [B, K0, F] that the component's documentation promises where `name` is absent.

        Override it where absence means something else than `silent_when_absent` can say; None where there
        is nothing to compare with.
        """
        silent = copy.deepcopy(component)
        for path in self.silent_when_absent:
            parent, _, last = path.format(name=name).rpartition(".")
            owner = silent.get_submodule(parent)
            owner.add_module(last, Silent(owner.get_submodule(last)))
        return self.fuse(silent, silence(batch, name)).tokens

    def outputs(self, component: nn.Module, batch: Batch) -> Outputs:
        """The fused tokens of each sample."""
        return [{"tokens": tokens} for tokens in self.fuse(component, batch).tokens]

    def test_gives_what_it_declares(self) -> None:
        """As many tokens of as much width as it says; diagnostics as described, detached and finite."""
        component = self.build()
        fused = self.fuse(component, self.batch())
        assert fused.tokens.shape == (4, component.num_tokens, component.output_size)
        described = component.diagnostics if isinstance(component, DiagnosedFuser) else {}
        assert fused.diagnostics.keys() <= described.keys(), "say in `diagnostics` how to read each of them"
        for name, tensor in fused.diagnostics.items():
            assert tensor.shape[0] == 4, name
            assert not tensor.requires_grad, name
            assert tensor.isfinite().all(), name
            _assert_described(name, tensor, described[name])
        if fused.auxiliary_loss is not None:
            assert fused.auxiliary_loss.shape == ()

    def test_diagnoses_what_it_shows(self) -> None:
        """The check a fuser brings along takes its own weights and scalars, and answers in sentences."""
        component = self.build()
        if isinstance(component, DiagnosedFuser):
            shown = self.fuse(component, self.batch()).diagnostics
            kinds = component.diagnostics
            findings = component.diagnose({name: v for name, v in shown.items() if kinds[name].kind != "map"})
            assert all(isinstance(finding, str) and finding for finding in findings)

    def test_absence_in_one_sample_is_seen_by_no_other(self) -> None:
        """Text or a modality left out of one sample: its output stays finite, the others the same."""
        component, batch = self.build(), self.batch()
        expected = self.outputs(component, batch)
        for name in batch:
            outputs = self.outputs(component, drop(batch, [name], [1]))
            assert_finite(outputs[1])
            kept = [0, 2, 3]
            self.assert_same([outputs[row] for row in kept], [expected[row] for row in kept])

    def test_an_absent_modality_gives_what_is_documented(self) -> None:
        """Compared in full, whatever stands where the absent modality's summary and frames would be."""
        component, batch = self.build(), self.batch()
        for name in self.modality_sizes:
            expected = self.fuse_without(component, batch, name)
            if expected is None:
                continue
            everyone = self.fuse(component, drop(batch, [name])).tokens
            assert_close(f"tokens without {name}", everyone, expected, tolerance=self.tolerance)
            one = self.fuse(component, drop(batch, [name], [1])).tokens[1]
            assert_close(f"tokens of the sample without {name}", one, expected[1], tolerance=self.tolerance)

    def test_streams_absent_for_everyone(self) -> None:
        """Each stream alone, all modalities, everything: finite outputs and gradients."""
        component, batch = self.build(), self.batch()
        cases = [[name] for name in batch] + [list(self.modality_sizes), list(batch)]
        for names in cases:
            absent = drop(batch, names)
            empty = {**absent, **shorten({name: absent[name] for name in names}, 0)}
            for case in (absent, empty):
                for outputs in self.outputs(component, case):
                    assert_finite(outputs)
                for name, gradient in self.gradients(component, case).items():
                    assert gradient is None or gradient.isfinite().all(), name
            self.assert_same(self.outputs(component, empty), self.outputs(component, absent))


def _assert_described(name: str, values: Tensor, described: Diagnostic) -> None:
    """[4, ...] of the shape its description promises."""
    if described.kind == "map":
        assert values.ndim == 3, name
        assert len(described.entries) == 2, name
        return
    assert values.ndim <= 2, name
    if described.entries:
        assert values.shape[1:] == (len(described.entries),), name
    if described.kind == "weights":
        assert (values >= 0).all(), name
        assert torch.allclose(values.float().sum(dim=-1), torch.ones(4), atol=1e-3), name


class InjectorContract(ComponentContract):
    """Rules of token injectors.

    Attributes:
        input_size: Fused width to test with.
        input_tokens: Fused tokens to test with (K0).
        hidden_size: Backbone width to test with.
    """

    input_size = 16
    input_tokens = 1
    hidden_size = 32

    def sizes(self) -> dict[str, Any]:
        """Fused width, fused tokens, backbone width."""
        return {
            "input_size": self.input_size,
            "input_tokens": self.input_tokens,
            "hidden_size": self.hidden_size,
        }

    def batch(self) -> Batch:
        """Fused tokens, as a stream whose first frames they are."""
        return random_batch({"fused": self.input_size * max(self.input_tokens, 1)})

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The fused tokens [B, K0, F]."""
        first = batch["fused"].values[:, 0]
        return {"tokens": first.reshape(len(first), -1, self.input_size)[:, : self.input_tokens]}

    def run(self, component: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """The pseudo tokens."""
        pseudo: Tensor = component(Fused(inputs["tokens"]))
        return pseudo

    def inject(self, component: nn.Module, batch: Batch) -> Tensor:
        """The component's forward."""
        return self.run(component, self.inputs(batch))

    def outputs(self, component: nn.Module, batch: Batch) -> Outputs:
        """The pseudo tokens of each sample."""
        return [{"pseudo": pseudo} for pseudo in self.inject(component, batch)]

    def test_gives_what_it_declares(self) -> None:
        """As many tokens as it says, as wide as the backbone."""
        component = self.build()
        pseudo = self.inject(component, self.batch())
        assert pseudo.shape == (4, component.num_tokens, self.hidden_size)
