"""EGMF's fusion, computed once more for each sample alone, and its diagnosis."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from msakit.core.tensors import Fused, Sequence
from msakit.plugins.egmf.config import AVConfig, EGMFConfig, RepeatConfig
from msakit.plugins.egmf.diagnosis import diagnose_experts, diagnose_gate, effective_experts
from msakit.plugins.egmf.encoder import AVEncoder
from msakit.plugins.egmf.fuser import ExpertGuidedFusion
from msakit.plugins.egmf.injector import RepeatedTokens
from msakit.testing.batches import as_encoded, drop, random_batch
from msakit.testing.comparison import assert_close

SIZES = {"audio": 24, "vision": 16}
NAMES = ("local", "semantic", "global")


def fuser(**settings: object) -> ExpertGuidedFusion:
    torch.manual_seed(0)
    module = ExpertGuidedFusion(SIZES, 32, **dict(EGMFConfig(size=16, **settings)))
    with torch.no_grad():  # away from the gates' uniform start
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module.eval()


def fuse(module: ExpertGuidedFusion, batch: dict[str, Sequence]) -> Fused:
    return module(batch["text"], {name: as_encoded(batch[name]) for name in SIZES})


def fused_features(module: ExpertGuidedFusion, batch: dict[str, Sequence], row: int) -> torch.Tensor:
    """f of one sample, from its real tokens and frames only."""
    real = {name: stream.values[None, row, : stream.lengths[row]] for name, stream in batch.items()}
    text = module.text_projection(real["text"])
    av = torch.cat([module.projections[name](real[name]) for name in SIZES], dim=1)
    fusion = module.fusion
    text_state = fusion.text_norm(text + fusion.text_to_av.attention(text, av, av)[0])
    av_state = fusion.av_norm(av + fusion.av_to_text.attention(av, text, text)[0])
    return fusion.merge(torch.cat([text_state.mean(1), av_state.mean(1)], dim=-1))[0]


def expert_outputs(module: ExpertGuidedFusion, features: torch.Tensor) -> torch.Tensor:
    activations = {"local": functional.mish, "semantic": functional.gelu, "global": functional.silu}
    outputs = []
    for name, expert in module.experts.items():
        hidden = activations[name](expert[0](features))
        assert len(hidden) == 16 // {"local": 8, "semantic": 4, "global": 2}[name]
        outputs.append(expert[2](hidden))
    return torch.stack(outputs)


def mlp(layers: nn.Sequential, features: torch.Tensor) -> torch.Tensor:
    return layers[2](functional.gelu(layers[0](features))).softmax(-1)


@pytest.mark.parametrize("gate", ["hierarchical", "single_stage", "static"])
@pytest.mark.parametrize("experts", [NAMES, ("local", "global"), ("semantic",)])
def test_tokens_and_diagnostics_equal_each_samples_own(gate: str, experts: tuple[str, ...]) -> None:
    module, batch = fuser(gate=gate, experts=experts), random_batch({"text": 32, **SIZES})
    fused = fuse(module, batch)
    for row in range(4):
        features = fused_features(module, batch, row)
        outputs = expert_outputs(module, features)
        if gate == "static":
            alpha = torch.full((len(experts),), 1 / len(experts))
        elif gate == "single_stage":
            alpha = mlp(module.gate.layers, features)
        else:
            weights = mlp(module.gate.feature_gate.layers, features)
            alpha = mlp(module.gate.context_gate.layers, torch.cat([features, weights]))
        assert_close("alpha", fused.diagnostics["alpha"][row], alpha, tolerance=1e-5)
        assert_close("token", fused.tokens[row, 0], features + alpha @ outputs, tolerance=1e-5)
        cosines = [one @ two / (one.norm() * two.norm()) for one, two in itertools.combinations(outputs, 2)]
        expected = torch.stack(cosines) if cosines else torch.zeros(0)
        assert_close("cosine", fused.diagnostics["expert_cosine"][row], expected, tolerance=1e-5)


def test_without_the_residual_only_the_mixture_is_left() -> None:
    with_residual, without, batch = fuser(), fuser(residual=False), random_batch({"text": 32, **SIZES})
    difference = fuse(with_residual, batch).tokens - fuse(without, batch).tokens
    for row in range(4):
        assert_close("f", difference[row, 0], fused_features(without, batch, row), tolerance=1e-5)


def test_the_gate_chooses_from_the_first_step_and_both_its_stages_learn() -> None:
    torch.manual_seed(0)
    module = ExpertGuidedFusion(SIZES, 32, **dict(EGMFConfig(size=256)))
    fused = fuse(module, random_batch({"text": 32, **SIZES}))
    assert diagnose_gate(fused.diagnostics["alpha"], NAMES) == []
    fused.tokens.square().sum().backward()
    for stage in (module.gate.feature_gate, module.gate.context_gate):
        assert all(p.grad.abs().max() > 1e-6 for p in stage.parameters())


def test_an_absent_modality_adds_no_frame() -> None:
    module, batch = fuser(), random_batch({"text": 32, **SIZES})
    actual = fuse(module, drop(batch, ["audio"], [0])).tokens[0]
    cut = {**batch, "audio": Sequence(batch["audio"].values[:, :0], torch.zeros(4, dtype=torch.long))}
    features = fused_features(module, cut, 0)
    alpha = mlp(
        module.gate.context_gate.layers,
        torch.cat([features, mlp(module.gate.feature_gate.layers, features)]),
    )
    assert_close("token", actual[0], features + alpha @ expert_outputs(module, features), tolerance=1e-5)


def test_no_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one modality"):
        ExpertGuidedFusion({}, 32, **dict(EGMFConfig()))


def test_the_encoder_adds_its_modality_to_every_frame() -> None:
    torch.manual_seed(0)
    encoder = AVEncoder(7, **dict(AVConfig(hidden_size=5, output_size=12))).eval()
    stream = random_batch({"modality": 7})["modality"]
    before = encoder(stream).sequence
    encoder.modality.data += 2.0
    after = encoder(stream)
    moved = (after.sequence.values - before.values)[stream.mask]
    assert_close("frames", moved, torch.full_like(moved, 2.0), tolerance=1e-5)


def test_repeated_tokens_are_the_same_between_learned_ones() -> None:
    torch.manual_seed(0)
    settings = dict(RepeatConfig(tokens=3, prefix_tokens=1, suffix_tokens=2))
    injector, tokens = RepeatedTokens(16, 1, 32, **settings), torch.randn(2, 1, 16)
    pseudo = injector(Fused(tokens))
    assert injector.num_tokens == 6
    projected = injector.projection(tokens)
    assert_close("repeated", pseudo[:, 1:4], projected.expand(-1, 3, -1), tolerance=0)
    assert_close("prefix", pseudo[:, :1], injector.prefix.expand(2, -1, -1), tolerance=0)
    assert_close("suffix", pseudo[:, 4:], injector.suffix.expand(2, -1, -1), tolerance=0)
    with pytest.raises(ValueError, match="gives tokens"):
        RepeatedTokens(16, 0, 32, **settings)


def test_a_healthy_gate_and_different_experts_are_not_complained_about() -> None:
    alpha = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    assert diagnose_gate(alpha, NAMES) == []
    assert diagnose_experts(torch.tensor([[0.1, -0.95, 0.89]]), NAMES) == []


@pytest.mark.parametrize(
    ("alpha", "word"),
    [
        ([[0.34, 0.33, 0.33], [0.33, 0.34, 0.33]], "uniform"),
        ([[0.97, 0.02, 0.01], [0.96, 0.01, 0.03]], "'local'"),
        ([[0.2, 0.5, 0.3], [0.2, 0.505, 0.295]], "constant"),
    ],
)
def test_a_collapsed_gate_is_named(alpha: list[list[float]], word: str) -> None:
    (finding,) = diagnose_gate(torch.tensor(alpha), NAMES)
    assert word in finding


def test_two_experts_taking_turns_are_not_a_collapse() -> None:
    assert diagnose_gate(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), NAMES) == []


def test_one_sample_cannot_show_a_constant_gate() -> None:
    assert diagnose_gate(torch.tensor([[0.2, 0.5, 0.3]]), NAMES) == []


def test_redundant_experts_are_named() -> None:
    cosine = torch.tensor([[0.95, 0.2, 0.9], [0.93, 0.1, 0.91]])
    findings = diagnose_experts(cosine, NAMES)
    assert findings == [
        "the experts 'local' and 'semantic' are redundant: mean cosine 0.940",
        "the experts 'semantic' and 'global' are redundant: mean cosine 0.905",
    ]


def test_effective_experts() -> None:
    actual = effective_experts(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    expected = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert_close("experts", actual, expected, tolerance=1e-6)
    assert effective_experts(torch.tensor([[0.9, 0.1]])).item() == pytest.approx(
        math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    )


def test_the_fuser_diagnoses_a_split_but_not_a_gate_that_cannot_choose() -> None:
    split = {"alpha": torch.full((5, 3), 1 / 3), "expert_cosine": torch.zeros(5, 3)}
    assert len(fuser().diagnose(split)) == 1
    assert fuser(gate="static").diagnose(split) == []
    alone = {"alpha": torch.ones(5, 1), "expert_cosine": torch.zeros(5, 0)}
    assert fuser(experts=("local",)).diagnose(alone) == []
