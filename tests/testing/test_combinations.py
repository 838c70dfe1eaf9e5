"""Every encoder behind every fuser before every injector, on a language model, for real."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from msakit.core.errors import ConfigError
from msakit.core.interfaces import Backbone
from msakit.core.pipeline.batch import Batch
from msakit.core.pipeline.builder import build_pipeline, load_backbone
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import ResolvedPipeline, resolve
from msakit.core.registry.registry import Registry, load_registry
from msakit.core.registry.specs import Kind
from msakit.core.tensors import Sequence

WIDTHS = {"audio": 7, "vision": 5}
SMALL: dict[str, dict[str, Any]] = {
    "lstm": {"hidden_size": 6, "output_size": 16},
    "bilstm": {"hidden_size": 6, "output_size": 16},
    "av": {"hidden_size": 6, "output_size": 16},
    "cmpta": {"size": 16, "num_heads": 4},
    "egmf": {"size": 16},
    "prompt": {"size": 16},
    "concat": {"size": 16},
    "sum": {"size": 16},
    "tfn": {"size": 16, "subnet_size": 4},
    "lmf": {"size": 16, "subnet_size": 4},
    "mult": {"size": 8, "num_heads": 2, "num_layers": 1, "output_size": 16},
}
ENCODERS = ("lstm", "bilstm", "av", "none")
FUSERS = ("tgm", "cmpta", "egmf", "none", "prompt", "concat", "sum", "tfn", "lmf", "mult")
INJECTORS = ("pseudo", "repeat", "none")


def choice(name: str) -> dict[str, Any]:
    return {"name": name, **SMALL.get(name, {})}


def settings(encoder: str, fuser: str, injector: str) -> dict[str, Any]:
    encoders = {name: choice(encoder) for name in WIDTHS}
    if encoder == "none":
        encoders = {name: {"name": "none", "output_size": 16} for name in WIDTHS}
    return {
        "dataset": {"name": "demo", "features": WIDTHS},
        "encoders": encoders,
        "fuser": choice(fuser),
        "injector": choice(injector),
        "backbone": {"name": "tiny", "device": "cpu"},
    }


def is_compatible(encoder: str, fuser: str, injector: str) -> bool:
    """Written out by hand, so that a capability nobody declared shows."""
    if (fuser == "none") != (injector == "none"):
        return False
    return not (encoder == "lstm" and fuser in ("cmpta", "egmf", "mult"))


ALL = list(itertools.product(ENCODERS, FUSERS, INJECTORS))
COMPATIBLE = [names for names in ALL if is_compatible(*names)]
INCOMPATIBLE = [names for names in ALL if not is_compatible(*names)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(discover=False)


def resolved(names: tuple[str, str, str], registry: Registry) -> ResolvedPipeline:
    return resolve(parse_pipeline(settings(*names), "test"), registry)


@pytest.fixture(scope="module")
def backbone(registry: Registry) -> Backbone:
    return load_backbone(resolved(COMPATIBLE[0], registry), registry)


def batch() -> Batch:
    """Three samples; the second has no audio, the third neither text nor vision."""
    generator = torch.Generator().manual_seed(0)
    lengths = {"audio": torch.tensor([4, 0, 2]), "vision": torch.tensor([3, 2, 0])}
    return Batch(
        ids=["a", "b", "c"],
        texts=["good", "so so", None],
        modalities={
            name: Sequence(torch.randn(3, 4, width, generator=generator), lengths[name])
            for name, width in WIDTHS.items()
        },
        labels=[1.2, -0.4, 3.0],
    )


def test_all_built_in_components_are_combined(registry: Registry) -> None:
    for kind, names in ((Kind.ENCODER, ENCODERS), (Kind.FUSER, FUSERS), (Kind.INJECTOR, INJECTORS)):
        assert sorted(spec.short for spec in registry.components(kind)) == sorted(names)
    assert (len(COMPATIBLE), len(INCOMPATIBLE)) == (70, 50)


@pytest.mark.parametrize("names", COMPATIBLE, ids="-".join)
def test_it_trains(names: tuple[str, str, str], registry: Registry, backbone: Backbone) -> None:
    torch.manual_seed(0)
    pipeline = build_pipeline(resolved(names, registry), registry, widths=WIDTHS, backbone=backbone).eval()
    weights = list(pipeline.trainable_parameters().values())
    if names[1] == "none":
        encoders = sum(p.numel() for p in pipeline.adapter.encoders.parameters())
        assert sum(weight.numel() for weight in weights) == encoders
        assert not pipeline(batch()).requires_grad
        return
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    losses = []
    for _ in range(3):
        loss = pipeline(batch())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad.isfinite().all() for weight in weights if weight.grad is not None)
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("names", INCOMPATIBLE, ids="-".join)
def test_it_is_refused_with_a_remedy(names: tuple[str, str, str], registry: Registry) -> None:
    encoder, fuser, injector = names
    with pytest.raises(ConfigError) as caught:
        resolved(names, registry)
    message = str(caught.value)
    assert f"'{fuser}'" in message
    if encoder == "lstm" and fuser in ("cmpta", "egmf", "mult"):
        assert "needs a sequence" in message
        assert "bilstm, av, none" in message
    if (fuser == "none") != (injector == "none"):
        assert f"the injector '{injector}' does not fit" in message
        assert ("Injectors that do: none." if fuser == "none" else "pseudo, repeat") in message


@pytest.mark.parametrize("tokens", [5, 6, 7, 8])
def test_cmptas_token_ablation_trains(tokens: int, registry: Registry, backbone: Backbone) -> None:
    content = settings("bilstm", "cmpta", f"pseudo{tokens}")
    pipeline = build_pipeline(
        resolve(parse_pipeline(content, "test"), registry), registry, widths=WIDTHS, backbone=backbone
    )
    prompt, fused = pipeline.assemble(batch())
    assert fused.tokens.shape == (3, 6, 16)
    assert prompt.pseudo.shape == (3, tokens, 32)
    loss = pipeline(batch())
    loss.backward()
    assert loss.isfinite()
