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
from msakit.core.tensors import Sequence

WIDTHS = {"audio": 7, "vision": 5}
REGISTRY = load_registry(discover=False)
# Settings that keep a component small; one that is not named here runs with its own defaults.
SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("encoder", "lstm"): {"hidden_size": 6, "output_size": 16},
    ("encoder", "bilstm"): {"hidden_size": 6, "output_size": 16},
    ("encoder", "av"): {"hidden_size": 6, "output_size": 16},
    ("encoder", "none"): {"output_size": 16},
    ("fuser", "cmpta"): {"size": 16, "num_heads": 4},
    ("fuser", "egmf"): {"size": 16},
    ("fuser", "prompt"): {"size": 16},
    ("fuser", "concat"): {"size": 16},
    ("fuser", "sum"): {"size": 16},
    ("fuser", "tfn"): {"size": 16, "subnet_size": 4},
    ("fuser", "lmf"): {"size": 16, "subnet_size": 4},
    ("fuser", "mult"): {"size": 8, "num_heads": 2, "num_layers": 1, "output_size": 16},
}


def offered(kind: str, capability: str = "") -> set[str]:
    specs = REGISTRY.components(kind)
    return {spec.short for spec in specs if not capability or capability in spec.capabilities}


def choice(kind: str, name: str) -> dict[str, Any]:
    return {"name": name, **SMALL.get((kind, name), {})}


def settings(encoder: str, fuser: str, injector: str) -> dict[str, Any]:
    return {
        "dataset": {"name": "demo", "features": WIDTHS},
        "encoders": {name: choice("encoder", encoder) for name in WIDTHS},
        "fuser": choice("fuser", fuser),
        "injector": choice("injector", injector),
        "backbone": {"name": "tiny", "device": "cpu"},
    }


def is_compatible(encoder: str, fuser: str, injector: str) -> bool:
    """What the capabilities say, read by a rule of the test's own."""
    tokens = fuser not in offered("fuser", "gives_none")
    if tokens != (injector in offered("injector", "needs_tokens")):
        return False
    forms = [form for form in ("summary", "sequence") if fuser in offered("fuser", f"needs_{form}")]
    return all(encoder in offered("encoder", f"gives_{form}") for form in forms)


NAMES = [[spec.short for spec in REGISTRY.components(kind)] for kind in ("encoder", "fuser", "injector")]
ALL = list(itertools.product(*NAMES))
COMPATIBLE = [names for names in ALL if is_compatible(*names)]
INCOMPATIBLE = [names for names in ALL if not is_compatible(*names)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return REGISTRY


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


def test_capabilities_are_what_we_know_of_the_built_in_components() -> None:
    """Written out by hand, so that a capability nobody declared shows."""
    assert offered("encoder", "gives_summary") >= {"lstm", "bilstm", "av", "none"}
    assert offered("encoder", "gives_sequence") >= {"bilstm", "av", "none"}
    assert "lstm" not in offered("encoder", "gives_sequence")
    assert offered("fuser", "needs_sequence") >= {"cmpta", "egmf", "mult"}
    assert offered("fuser", "needs_summary") >= {"tgm", "concat", "sum", "tfn", "lmf"}
    assert offered("fuser", "gives_tokens") == offered("fuser") - offered("fuser", "gives_none")
    assert "none" in offered("fuser", "gives_none")
    assert offered("injector", "needs_tokens") >= {"pseudo", "repeat"}
    assert "none" in offered("injector", "needs_none")


def test_every_component_is_in_some_combination_that_works() -> None:
    for names, used in zip(NAMES, zip(*COMPATIBLE, strict=True), strict=True):
        assert set(names) == set(used)


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
    for form in ("summary", "sequence"):
        fitting = offered("encoder", f"gives_{form}")
        if fuser in offered("fuser", f"needs_{form}") and encoder not in fitting:
            assert f"needs a {form}" in message
            assert set(message.split("Encoders that do: ")[1].split(".")[0].split(", ")) == fitting
    needed = "needs_none" if fuser in offered("fuser", "gives_none") else "needs_tokens"
    fitting = offered("injector", needed)
    if injector not in fitting:
        assert f"the injector '{injector}' does not fit" in message
        assert set(message.split("Injectors that do: ")[1].split(".")[0].split(", ")) == fitting


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
