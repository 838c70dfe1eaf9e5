"""MSE-Adapter against outputs of the authors' released code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from msakit.core.errors import DataError
from msakit.core.tensors import Sequence
from msakit.plugins.mse_adapter.config import LSTMConfig, PseudoConfig, TGMConfig
from msakit.plugins.mse_adapter.encoder import LSTMEncoder
from msakit.plugins.mse_adapter.fuser import TextGuidedMixer
from msakit.plugins.mse_adapter.injector import PseudoTokens
from msakit.plugins.mse_adapter.released import convert
from msakit.testing.comparison import assert_matches_golden, read_golden

GOLDEN = Path(__file__).parents[2] / "golden"
COUNTS = json.loads((GOLDEN / "mse_adapter_parameter_counts.json").read_text())


def build(
    sizes: dict[str, int], hidden: dict[str, int], text_size: int, tokens: int
) -> tuple[torch.nn.ModuleDict, TextGuidedMixer, PseudoTokens]:
    encoders = torch.nn.ModuleDict(
        {
            name: LSTMEncoder(size, **LSTMConfig(hidden_size=hidden[name]).model_dump())
            for name, size in sizes.items()
        }
    )
    widths = {name: encoder.output_size for name, encoder in encoders.items()}
    fuser = TextGuidedMixer(widths, text_size, **TGMConfig().model_dump())
    injector = PseudoTokens(
        fuser.output_size, fuser.num_tokens, text_size, **PseudoConfig(tokens=tokens).model_dump()
    )
    return encoders, fuser, injector


@pytest.mark.parametrize("case", [0, 1])
def test_outputs_equal_the_released_codes(case: int) -> None:
    golden = read_golden(GOLDEN / f"mse_adapter_{case}.npz")
    given, expected = golden["in"], golden["out"]
    weights = convert(golden["param"])
    inputs = {name: Sequence(given[name], given[f"{name}_len"]) for name in ("audio", "vision")}
    values = given["text_embeds"]
    text = Sequence(values, torch.full(values.shape[:1], values.shape[1]))
    hidden = {name: weights[f"encoders.{name}"]["projection.weight"].shape[1] for name in inputs}
    tokens = expected["pseudo_tokens"].shape[1]
    sizes = {name: sequence.values.shape[2] for name, sequence in inputs.items()}
    encoders, fuser, injector = build(sizes, hidden, values.shape[2], tokens)
    for name, encoder in encoders.items():
        encoder.load_state_dict(weights[f"encoders.{name}"])
    fuser.load_state_dict(weights["fuser"])
    injector.load_state_dict(weights["injector"])

    encoded = {name: encoders[name](sequence) for name, sequence in inputs.items()}
    mixed: list[torch.Tensor] = []
    fuser.fusion.register_forward_pre_hook(lambda _, args: mixed.append(args[0]))
    pseudo = injector(fuser(text, encoded))

    actual = {f"{name}_encoded": parts.summary for name, parts in encoded.items()}
    assert_matches_golden(actual | {"text_guide_mixer": mixed[0], "pseudo_tokens": pseudo}, expected)
    pseudo.square().sum().backward()
    for module in (encoders, fuser, injector):
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: f"{row['backbone']}-{row['dataset']}")
def test_trainable_parameters_equal_the_authors_logs(row: dict[str, int]) -> None:
    sizes = {"audio": row["audio_size"], "vision": row["vision_size"]}
    hidden = {"audio": row["audio_hidden"], "vision": row["vision_hidden"]}
    with torch.device("meta"):
        modules = build(sizes, hidden, row["hidden_size"], row["pseudo_tokens"])
    count = sum(parameter.numel() for module in modules for parameter in module.parameters())
    assert count == row["trainable_parameters"]


def test_every_published_row_is_counted() -> None:
    assert len(COUNTS) == 12


def test_convert_accepts_a_prefix_and_names_a_foreign_key() -> None:
    weight = torch.ones(2, 3)
    assert torch.equal(
        convert({"Model.text_guide_mixer.text_mlp.weight": weight})["fuser"]["text_projection.weight"], weight
    )
    with pytest.raises(DataError, match=r"Model\.lm\.weight"):
        convert({"Model.lm.weight": weight})
