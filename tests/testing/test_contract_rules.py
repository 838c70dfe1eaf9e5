"""Every rule of the contract suite catches the mistake it is there for."""

from __future__ import annotations

import inspect
import os
from typing import ClassVar

import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from msakit.core.interfaces import Diagnostic
from msakit.core.tensors import Encoded, Fused
from msakit.testing.component import ComponentContract
from msakit.testing.contracts import EncoderContract, FuserContract, InjectorContract


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=4, description="Width out.")


class OpenSettings(Settings):
    model_config = ConfigDict(extra="allow", frozen=True)


class UndescribedSettings(Settings):
    depth: int = 1


class Good(nn.Module):
    """An encoder that obeys; each mistake below changes one thing."""

    def __init__(self, input_size, width):
        super().__init__()
        self.output_size = width
        self.linear = nn.Linear(input_size, width)

    def frames(self, modality):
        return modality.values.masked_fill(~modality.mask[..., None], 0)

    def mean(self, modality, frames):
        return frames.sum(1) / modality.lengths.clamp(min=1)[:, None].to(frames.dtype)

    def forward(self, modality):
        summary = self.linear(self.mean(modality, self.frames(modality)))
        return Encoded(modality.present, summary=summary * modality.present[:, None])


class ReadsPadding(Good):
    def frames(self, modality):
        return modality.values


class MeansOverPadding(Good):
    def mean(self, modality, frames):
        return frames.mean(1)


class CleansTooLate(Good):
    """Its outputs are right, its gradients are NaN: 0 times NaN."""

    def forward(self, modality):
        wide = self.linear(modality.values).masked_fill(~modality.mask[..., None], 0)
        return Encoded(modality.present, summary=self.mean(modality, wide))


class LooksAtNeighbours(Good):
    def mean(self, modality, frames):
        mean = super().mean(modality, frames)
        return mean - mean.mean(0)


class CountsRows(Good):
    def mean(self, modality, frames):
        return super().mean(modality, frames) + torch.arange(len(frames))[:, None]


class Squeezes(Good):
    def frames(self, modality):
        return super().frames(modality).squeeze()


class WritesItsInput(Good):
    def frames(self, modality):
        return modality.values.masked_fill_(~modality.mask[..., None], 0)


class ForgetsDtype(Good):
    def forward(self, modality):
        encoded = super().forward(modality)
        return Encoded(encoded.present, summary=encoded.summary.float())


class LosesPrecision(Good):
    def mean(self, modality, frames):
        mean = super().mean(modality, frames)
        return (mean + 300) - 300 if mean.dtype == torch.bfloat16 else mean


class HasADeadParameter(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.dead = nn.Parameter(torch.ones(1))


class TrainsAFrozenWeight(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.linear.weight.requires_grad = False

    def forward(self, modality):
        self.linear.weight.grad = torch.ones_like(self.linear.weight)
        return super().forward(modality)


class IgnoresSeeds(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(4)))
        self.linear.weight.data = torch.randn(width, input_size, generator=generator)


class KeepsStateToItself(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.secret = torch.randn(width)

    def forward(self, modality):
        encoded = super().forward(modality)
        return Encoded(encoded.present, summary=encoded.summary * self.secret)


class NeedsValues(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.extra = nn.Parameter(torch.zeros(int(torch.tensor(3))))


class TakesAnUnknownArgument(Good):
    def __init__(self, input_size, width, depth=1):
        super().__init__(input_size, width)


class BiasWhereAbsent(Good):
    def forward(self, modality):
        return Encoded(modality.present, summary=self.linear(self.mean(modality, self.frames(modality))))


class DividesByTheLength(Good):
    def mean(self, modality, frames):
        return frames.sum(1) / modality.lengths[:, None].to(frames.dtype)

    def forward(self, modality):
        encoded = super().forward(modality)
        return Encoded(encoded.present, summary=encoded.summary.nan_to_num())


class GivesNoSummary(Good):
    def forward(self, modality):
        return Encoded(modality.present)


class RemembersItsLastCall(Good):
    """A recurrent state that survives the batch."""

    state = 0.0

    def mean(self, modality, frames):
        mean = super().mean(modality, frames)
        mean = mean + 0.1 * self.state
        self.state = mean.detach().mean()
        return mean


class DropsInEvaluation(Good):
    def mean(self, modality, frames):
        return nn.functional.dropout(super().mean(modality, frames), 0.5)  # training=True by default


class TracksStatistics(Good):
    """Batch normalisation: harmless in evaluation, but training sees the neighbours."""

    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.norm = nn.BatchNorm1d(input_size)

    def mean(self, modality, frames):
        return self.norm(super().mean(modality, frames))


class FreezesAWeight(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.linear.bias.requires_grad = False


class WritesIntoPadding(Good):
    def frames(self, modality):
        modality.values[~modality.mask] = 0
        return modality.values


class StaysOnTheCPU(Good):
    def mean(self, modality, frames):
        steps = torch.arange(frames.shape[1])  # no device
        mask = steps[None, :, None] < modality.lengths[:, None, None]
        return super().mean(modality, frames * mask)


SHARED = nn.Linear(7, 4)


class SharesAModule(Good):
    def __init__(self, input_size, width):
        super().__init__(input_size, width)
        self.linear = SHARED


class DriftsToDouble(Good):
    def forward(self, modality):
        encoded = super().forward(modality)
        wide = encoded.summary if encoded.summary.dtype == torch.bfloat16 else encoded.summary.double()
        return Encoded(encoded.present, summary=wide)


class GoodEncoder(EncoderContract):
    target = f"{__name__}:Good"
    config = f"{__name__}:Settings"


MISTAKES = [
    (ReadsPadding, "test_padding_content_is_never_read"),
    (CleansTooLate, "test_padding_content_is_never_read"),
    (MeansOverPadding, "test_more_padding_changes_nothing"),
    (MeansOverPadding, "test_a_samples_output_does_not_depend_on_its_neighbours"),
    (LooksAtNeighbours, "test_a_samples_output_does_not_depend_on_its_neighbours"),
    (CountsRows, "test_batch_order_does_not_matter"),
    (Squeezes, "test_one_sample_of_one_frame"),
    (WritesItsInput, "test_inputs_are_left_alone"),
    (ForgetsDtype, "test_bfloat16_agrees_with_float32"),
    (LosesPrecision, "test_bfloat16_agrees_with_float32"),
    (HasADeadParameter, "test_gradients_reach_every_trainable_parameter"),
    (TrainsAFrozenWeight, "test_gradients_reach_every_trainable_parameter"),
    (IgnoresSeeds, "test_the_same_seed_gives_the_same_result"),
    (KeepsStateToItself, "test_state_dict_round_trips"),
    (NeedsValues, "test_builds_on_the_meta_device"),
    (TakesAnUnknownArgument, "test_config_fields_are_the_constructors_parameters"),
    (BiasWhereAbsent, "test_an_absent_modality_is_zeros"),
    (BiasWhereAbsent, "test_a_modality_absent_for_everyone"),
    (DividesByTheLength, "test_a_modality_absent_for_everyone"),
    (GivesNoSummary, "test_gives_what_it_declares"),
    (RemembersItsLastCall, "test_a_call_leaves_no_trace"),
    (DropsInEvaluation, "test_a_call_leaves_no_trace"),
    (TracksStatistics, "test_training_changes_parameters_alone"),
    (FreezesAWeight, "test_gradients_reach_every_trainable_parameter"),
    (WritesIntoPadding, "test_inputs_are_left_alone"),
    (StaysOnTheCPU, "test_runs_on_the_device_of_its_inputs"),
    (SharesAModule, "test_instances_share_nothing"),
    (DriftsToDouble, "test_bfloat16_agrees_with_float32"),
]


@pytest.mark.parametrize(("mistake", "rule"), MISTAKES, ids=lambda value: getattr(value, "__name__", value))
def test_a_mistake_breaks_its_rule(mistake: type, rule: str) -> None:
    contract = GoodEncoder()
    contract.target = f"{__name__}:{mistake.__name__}"
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        getattr(contract, rule)()


def rules_of(contract: type[ComponentContract]) -> list[str]:
    return [name for name, _ in inspect.getmembers(contract, inspect.isfunction) if name.startswith("test_")]


@pytest.mark.parametrize("rule", [rule for rule in rules_of(EncoderContract) if "torch" not in rule])
def test_a_good_encoder_obeys(rule: str) -> None:
    getattr(GoodEncoder(), rule)()


@pytest.mark.parametrize("settings", [OpenSettings, UndescribedSettings])
def test_careless_settings_are_refused(settings: type[BaseModel]) -> None:
    contract = GoodEncoder()
    contract.config = f"{__name__}:{settings.__name__}"
    with pytest.raises(AssertionError):
        contract.test_config_describes_and_closes_its_fields()


def test_a_config_that_imports_torch_is_refused() -> None:
    contract = GoodEncoder()
    contract.config = "torch.nn.functional:Settings"
    with pytest.raises(AssertionError, match="imports torch"):
        contract.test_config_imports_no_torch()


class GoodFuser(nn.Module):
    num_tokens = 2

    def __init__(self, modality_sizes, text_size, width):
        super().__init__()
        self.output_size = width
        self.linear = nn.Linear(text_size, width)

    def forward(self, text, modalities):
        words = text.values.masked_fill(~text.mask[..., None], 0).sum(1)
        tokens = torch.stack([self.linear(words), words[:, : self.output_size]], dim=1)
        return Fused(tokens, diagnostics=self.show(tokens))

    def show(self, tokens):
        return {"first": tokens[:, 0].detach()}

    @property
    def diagnostics(self):
        return {"first": Diagnostic("scalars")}

    def diagnose(self, diagnostics):
        return ["it is large"] if diagnostics["first"].mean() > 1e6 else []


class ShowsGradients(GoodFuser):
    def show(self, tokens):
        return {"first": tokens[:, 0]}


class ShowsWhatItDoesNotDescribe(GoodFuser):
    def show(self, tokens):
        return {"second": tokens[:, 1].detach()}


class DescribesAnotherShape(GoodFuser):
    @property
    def diagnostics(self):
        return {"first": Diagnostic("scalars", ("one", "two"))}


class CallsThemWeights(GoodFuser):
    @property
    def diagnostics(self):
        return {"first": Diagnostic("weights")}


class ComplainsWithoutWords(GoodFuser):
    def diagnose(self, diagnostics):
        return [""]


class MiscountsTokens(GoodFuser):
    num_tokens = 3


class FailsWithoutText(GoodFuser):
    def forward(self, text, modalities):
        fused = super().forward(text, modalities)
        return Fused(fused.tokens / text.lengths[:, None, None])


class LetsAbsenceSpread(GoodFuser):
    def forward(self, text, modalities):
        fused = super().forward(text, modalities)
        return Fused(fused.tokens * modalities["audio"].present.all())


class ReadsAudio(GoodFuser):
    """Obeys: what an absent modality holds is masked, and it counts as zeros."""

    def __init__(self, modality_sizes, text_size, width):
        super().__init__(modality_sizes, text_size, width)
        self.audio = nn.Linear(modality_sizes["audio"], width)

    def summary(self, audio):
        return audio.summary.masked_fill(~audio.present[:, None], 0)

    def forward(self, text, modalities):
        fused = super().forward(text, modalities)
        return Fused(fused.tokens + self.read(modalities["audio"])[:, None], fused.diagnostics)

    def read(self, audio):
        return self.audio(self.summary(audio))


class IgnoresPresent(ReadsAudio):
    def summary(self, audio):
        return audio.summary


class ShiftsWhereAbsent(ReadsAudio):
    """Masks what it reads and still says something of its own, which is documented nowhere."""

    def read(self, audio):
        return super().read(audio) + (~audio.present[:, None]).float()


class WritesIntoTheSummary(ReadsAudio):
    def summary(self, audio):
        return audio.summary.masked_fill_(~audio.present[:, None], 0).mul_(2)


class AveragesNothing(ReadsAudio):
    """A mean over the samples that have audio; of none it is NaN."""

    def read(self, audio):
        everyone = self.summary(audio).sum(0) / audio.present.sum()
        return super().read(audio) + 0 * self.audio(everyone)


class ReadsPaddedFrames(ReadsAudio):
    def summary(self, audio):
        return super().summary(audio) + audio.sequence.values.mean(1) * audio.present[:, None]


class GoodFuserContract(FuserContract):
    target = f"{__name__}:GoodFuser"
    config = f"{__name__}:Settings"


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        (ShowsGradients, "test_gives_what_it_declares"),
        (ShowsWhatItDoesNotDescribe, "test_gives_what_it_declares"),
        (DescribesAnotherShape, "test_gives_what_it_declares"),
        (CallsThemWeights, "test_gives_what_it_declares"),
        (ComplainsWithoutWords, "test_diagnoses_what_it_shows"),
        (MiscountsTokens, "test_gives_what_it_declares"),
        (FailsWithoutText, "test_streams_absent_for_everyone"),
        (FailsWithoutText, "test_absence_in_one_sample_is_seen_by_no_other"),
        (LetsAbsenceSpread, "test_absence_in_one_sample_is_seen_by_no_other"),
        (IgnoresPresent, "test_an_absent_modality_gives_what_is_documented"),
        (ShiftsWhereAbsent, "test_an_absent_modality_gives_what_is_documented"),
        (WritesIntoTheSummary, "test_inputs_are_left_alone"),
        (AveragesNothing, "test_streams_absent_for_everyone"),
        (ReadsPaddedFrames, "test_padding_content_is_never_read"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_fusers_mistake_breaks_its_rule(mistake: type, rule: str) -> None:
    contract = GoodFuserContract()
    getattr(contract, rule)()
    contract.target = f"{__name__}:{mistake.__name__}"
    with pytest.raises(AssertionError):
        getattr(contract, rule)()


@pytest.mark.parametrize("rule", [rule for rule in rules_of(FuserContract) if "torch" not in rule])
def test_a_fuser_that_reads_its_audio_obeys(rule: str) -> None:
    contract = GoodFuserContract()
    contract.target = f"{__name__}:ReadsAudio"
    getattr(contract, rule)()


class MiscountingInjector(nn.Module):
    num_tokens = 2

    def __init__(self, input_size, input_tokens, hidden_size, width):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, fused):
        return self.linear(fused.tokens)


def test_an_injector_that_miscounts_is_caught() -> None:
    class Contract(InjectorContract):
        target = f"{__name__}:MiscountingInjector"
        config = f"{__name__}:Settings"
        settings: ClassVar = {}

    Contract().test_one_sample_of_one_frame()
    with pytest.raises(AssertionError):
        Contract().test_gives_what_it_declares()
