"""The rules components of every kind obey; see `msakit.testing.contracts`."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import subprocess
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from msakit.testing.batches import (
    Batch,
    cast,
    fill_padding,
    pad_longer,
    select,
    shorten,
    to_device,
)
from msakit.testing.comparison import assert_close, relative_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

Outputs = list[dict[str, "Tensor"]]


class ComponentContract(ABC):
    """Rules of every kind of component.

    Attributes:
        target: The class, "module:Class".
        config: Its pydantic configuration, "module:Class".
        settings: Small settings to test it with.
        tolerance: How far two float32 computations of the same thing may differ.
        bfloat16_error: How far bfloat16 may be from float32, relative to the norm of the output.
        frozen: Names of parameters that are meant not to train.
        runs_on_meta: Whether its forward works without values; false where it must look at them.
    """

    target: str
    config: str
    settings: ClassVar[Mapping[str, Any]] = {}
    tolerance = 1e-5
    bfloat16_error = 0.05
    frozen: ClassVar[tuple[str, ...]] = ()
    runs_on_meta = True

    # What the kinds fill in

    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """The widths its constructor receives."""

    @abstractmethod
    def batch(self) -> Batch:
        """A batch of ragged streams for it."""

    @abstractmethod
    def outputs(self, component: nn.Module, batch: Batch) -> Outputs:
        """Its output for each sample, without padding."""

    @abstractmethod
    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The tensors its forward is given."""

    @abstractmethod
    def run(self, component: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Its forward on such tensors; the output, padding and all."""

    # Tools

    def build(self, seed: int = 0) -> nn.Module:
        """The component in evaluation mode, its parameters moved off any zero they start from."""
        torch.manual_seed(seed)
        component = self.construct()
        with torch.no_grad():
            for parameter in component.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        return component.eval()

    def construct(self) -> nn.Module:
        """The component as the builder makes it."""
        settings = _load(self.config)(**self.settings)
        component: nn.Module = _load(self.target)(**self.sizes(), **dict(settings))
        return component

    def assert_same(self, actual: Outputs, expected: Outputs) -> None:
        """Equal outputs for equal samples, within the tolerance."""
        assert len(actual) == len(expected)
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert one.keys() == other.keys()
            for name in other:
                assert_close(f"{name} of sample {index}", one[name], other[name], tolerance=self.tolerance)

    def gradients(self, component: nn.Module, batch: Batch) -> dict[str, Tensor | None]:
        """Gradients of a random linear functional of the outputs."""
        component.zero_grad(set_to_none=True)
        generator = torch.Generator().manual_seed(1)
        loss = torch.zeros(())
        for sample in self.outputs(component, batch):
            for output in sample.values():
                loss = loss + (output * torch.randn(output.shape, generator=generator)).sum()
        if loss.requires_grad:
            torch.autograd.backward(loss)
        return {name: parameter.grad for name, parameter in component.named_parameters()}

    # Rules

    def test_config_fields_are_the_constructors_parameters(self) -> None:
        """A setting nobody reads, or an argument nobody can set, is a mistake."""
        fields = set(_load(self.config).model_fields)
        parameters = set(inspect.signature(_load(self.target)).parameters)
        assert fields | set(self.sizes()) == parameters

    def test_config_describes_and_closes_its_fields(self) -> None:
        """Every field says what it is; unknown keys are refused; settings cannot change."""
        config = _load(self.config)
        assert [name for name, field in config.model_fields.items() if not field.description] == []
        assert config.model_config.get("extra") == "forbid"
        assert config.model_config.get("frozen") is True

    def test_config_imports_no_torch(self) -> None:
        """Listing and checking pipelines must stay light."""
        module = self.config.partition(":")[0]
        assert not _imports_torch(module), f"importing {module} imports torch"

    def test_padding_content_is_never_read(self) -> None:
        """NaN and huge numbers in the padding change neither outputs nor gradients."""
        component, batch = self.build(), self.batch()
        expected, gradients = self.outputs(component, batch), self.gradients(component, batch)
        for filler in (float("nan"), 1e9):
            filled = fill_padding(batch, filler)
            self.assert_same(self.outputs(component, filled), expected)
            for name, gradient in self.gradients(component, filled).items():
                wanted = gradients[name]
                if gradient is None or wanted is None:
                    assert gradient is wanted, name
                else:
                    assert_close(f"gradient of {name}", gradient, wanted, tolerance=10 * self.tolerance)

    def test_more_padding_changes_nothing(self) -> None:
        """A longer neighbour pads everyone; no one may notice."""
        component, batch = self.build(), self.batch()
        self.assert_same(self.outputs(component, pad_longer(batch, 3)), self.outputs(component, batch))

    def test_a_samples_output_does_not_depend_on_its_neighbours(self) -> None:
        """Alone in a batch of one, or with everyone else."""
        component, batch = self.build(), self.batch()
        expected = self.outputs(component, batch)
        for index, outputs in enumerate(expected):
            self.assert_same(self.outputs(component, select(batch, [index])), [outputs])

    def test_batch_order_does_not_matter(self) -> None:
        """Reordered samples give reordered outputs."""
        component, batch, order = self.build(), self.batch(), [2, 0, 3, 1]
        expected = self.outputs(component, batch)
        self.assert_same(self.outputs(component, select(batch, order)), [expected[row] for row in order])

    def test_one_sample_of_one_frame(self) -> None:
        """B = 1, L = 1, T = 1."""
        component = self.build()
        (outputs,) = self.outputs(component, shorten(select(self.batch(), [0]), 1))
        assert_finite(outputs)

    def test_inputs_are_left_alone(self) -> None:
        """Nothing is written into what it is given, padding included."""
        given = self.inputs(self.batch())
        before = {name: tensor.clone() for name, tensor in given.items()}
        self.run(self.build(), given)
        for name, tensor in given.items():
            assert torch.equal(tensor, before[name]), f"{name} was written into"

    def test_a_call_leaves_no_trace(self) -> None:
        """In evaluation mode a call depends on no earlier one and draws nothing at random."""
        component, batch = self.build(), self.batch()
        first = self.outputs(component, batch)
        self.outputs(component, select(batch, [3, 1]))
        for one, two in zip(first, self.outputs(component, batch), strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one), "a second call differs"

    def test_training_changes_parameters_alone(self) -> None:
        """A forward in training mode writes neither parameters nor buffers (running statistics)."""
        component = self.build().train()
        before = {name: tensor.clone() for name, tensor in component.state_dict().items()}
        self.outputs(component, self.batch())
        for name, tensor in component.state_dict().items():
            assert torch.equal(tensor, before[name]), f"a forward changes {name}"

    def test_instances_share_nothing(self) -> None:
        """Two components of one pipeline are two: training one leaves the other alone."""
        one, two = self.construct(), self.construct()
        shared = {tensor.data_ptr() for tensor in one.state_dict().values() if tensor.numel()}
        for name, tensor in two.state_dict().items():
            assert tensor.data_ptr() not in shared, f"{name} belongs to every instance"

    def test_runs_on_the_device_of_its_inputs(self) -> None:
        """Tried on the meta device, where a tensor made on any other fits nothing."""
        if not self.runs_on_meta:
            return
        component, batch = self.build().to("meta"), to_device(self.batch(), "meta")
        try:
            made = self.run(component, self.inputs(batch))
        except (RuntimeError, NotImplementedError) as error:
            msg = f"a tensor is on a device of its own, or values are looked at (runs_on_meta): {error}"
            raise AssertionError(msg) from error
        assert made.device.type == "meta", "the output is on a device of its own"

    def test_bfloat16_agrees_with_float32(self) -> None:
        """In the dtype it is given, and near float32."""
        component, batch = self.build(), cast(cast(self.batch(), torch.bfloat16), torch.float32)
        expected = self.outputs(component, batch)
        low = self.outputs(copy.deepcopy(component).bfloat16(), cast(batch, torch.bfloat16))
        for name in expected[0]:
            actual = torch.cat([sample[name].flatten() for sample in low])
            wanted = torch.cat([sample[name].flatten() for sample in expected])
            assert actual.dtype == torch.bfloat16, name
            assert wanted.dtype == torch.float32, name
            assert relative_error(actual, wanted) < self.bfloat16_error, name

    def test_state_dict_round_trips(self) -> None:
        """Loaded weights give the outputs they were saved with, to the last bit."""
        saved, other, batch = self.build(seed=0), self.build(seed=1), self.batch()
        other.load_state_dict(saved.state_dict(), strict=True)
        for one, two in zip(self.outputs(saved, batch), self.outputs(other, batch), strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)

    def test_gradients_reach_every_trainable_parameter(self) -> None:
        """And no frozen one."""
        component = self.build()
        gradients = self.gradients(component, self.batch())
        for name, parameter in component.named_parameters():
            gradient = gradients[name]
            if not parameter.requires_grad:
                assert name in self.frozen, f"{name} does not train; if that is meant, list it in `frozen`"
                assert gradient is None, f"{name} is frozen but has a gradient"
            elif parameter.numel():
                assert gradient is not None, f"{name} gets no gradient"
                assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
                assert gradient.abs().max() > 0, f"the gradient of {name} is zero"

    def test_the_same_seed_gives_the_same_result(self) -> None:
        """Initialisation, and a training-mode forward with its dropout."""
        results = []
        for _ in range(2):
            torch.manual_seed(7)
            component = self.construct().train()
            results.append((component.state_dict(), self.outputs(component, self.batch())))
        (first, first_outputs), (second, second_outputs) = results
        assert all(torch.equal(first[name], second[name]) for name in first)
        for one, two in zip(first_outputs, second_outputs, strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)

    def test_builds_on_the_meta_device(self) -> None:
        """Pipelines are sized without memory, so shapes must not depend on values."""
        with torch.device("meta"):
            shapes = {name: p.shape for name, p in self.construct().named_parameters()}
        assert shapes == {name: p.shape for name, p in self.construct().named_parameters()}


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@functools.cache
def _imports_torch(module: str) -> bool:
    code = f"import sys, {module}; sys.exit(3 if 'torch' in sys.modules else 0)"
    status = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert status in (0, 3), f"{module} cannot be imported"
    return status == 3


def assert_finite(outputs: Mapping[str, Tensor]) -> None:
    """No output is NaN or infinite."""
    for name, tensor in outputs.items():
        assert tensor.isfinite().all(), f"{name} is not finite"
