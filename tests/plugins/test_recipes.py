"""Every recipe resolves and is as large as the papers' formulas say; published figures are comparable."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from msakit.core.pipeline.builder import build_adapter, measure_backbone
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import ResolvedPipeline, resolve
from msakit.core.registry.registry import load_registry
from msakit.core.registry.specs import RecipeSpec
from msakit.metrics import find_metric

REGISTRY = load_registry(discover=False)
RECIPES = REGISTRY.recipes()
COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "mse_adapter_parameter_counts.json").read_text())
SEQUENCE_ENCODER = {"mosei": (74, 35), "simsv2": (25, 177), "meld": (64, 64), "cherma": (1024, 2048)}


def resolved(recipe: RecipeSpec) -> ResolvedPipeline:
    backbone = {**recipe.pipeline.get("backbone", {}), "name": recipe.backbone}
    content = {**recipe.pipeline, "dataset": recipe.dataset, "backbone": backbone}
    return resolve(parse_pipeline(content, recipe.name), REGISTRY)


def expected_adapter(recipe: RecipeSpec) -> int:
    """Trainable parameters outside the language model, from the layers' formulas."""
    if recipe.name == "mse-adapter":
        rows = [r for r in COUNTS if (r["dataset"], r["backbone"]) == (recipe.dataset, recipe.backbone)]
        return rows[0]["trainable_parameters"] if rows else 1_323_468  # IEMOCAP: the released code, run
    width, attention = 256, 4 * 256 * 257
    encoders = sum(
        2 * 4 * 64 * (size + 64 + 2) + 128 * width + width + 2 * width
        for size in SEQUENCE_ENCODER[recipe.dataset]
    )
    hidden_size = 2048 if recipe.name == "cmpta" else 4096
    ends = (hidden_size * width + width) + (width * hidden_size + hidden_size)
    if recipe.name == "cmpta":
        block = attention + 2 * 4 * width * width + 5 * width + 2 * 2 * width
        return encoders + ends + 6 * attention + block
    embeddings = 2 * width
    merge = 2 * 2 * width + (2 * width * width + width) + 2 * width
    experts = sum(2 * width * (width // k) + width // k + width for k in (8, 4, 2))
    gates = sum(size * 128 + 128 + 128 * 3 + 3 for size in (width, width + 3))
    return encoders + embeddings + ends + 2 * attention + merge + experts + gates


# Rank 8 on query, key, value and output: layers x 8 x the four (inputs + outputs).
EXPECTED_LORA = {
    "chatglm3-6b": 28 * 8 * (2 * 8192 + 2 * (4096 + 256)),
    "glm4-9b": 40 * 8 * (2 * 8192 + 2 * (4096 + 256)),
    "llama2-7b": 32 * 8 * 4 * 8192,
    "llama3-8b": 32 * 8 * (2 * 8192 + 2 * (4096 + 1024)),
}


def test_every_recipe_is_there() -> None:
    assert Counter(recipe.name for recipe in RECIPES) == {"mse-adapter": 13, "cmpta": 2, "egmf": 16}
    published = {(row["dataset"], row["backbone"]) for row in COUNTS}
    assert published <= {(r.dataset, r.backbone) for r in RECIPES if r.name == "mse-adapter"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.name}-{r.dataset}-{r.backbone}")
def test_a_recipe_has_exactly_the_papers_parameters(recipe: RecipeSpec) -> None:
    pipeline = resolved(recipe)
    facts = measure_backbone(pipeline, REGISTRY)
    adapter = build_adapter(
        pipeline, REGISTRY, widths=pipeline.dataset.features, hidden_size=facts.hidden_size, device="meta"
    )
    assert sum(adapter.count_parameters().values()) == expected_adapter(recipe)
    lora = EXPECTED_LORA[recipe.backbone] if recipe.name == "egmf" else 0
    assert facts.num_trainable == lora
    assert recipe.source
    assert "Ours:" in recipe.note or "Our reading:" in recipe.note


def test_hyperparameters_are_the_released_ones() -> None:
    chatglm = resolved(REGISTRY.recipe("mse-adapter", "meld", "chatglm3-6b")).config
    assert chatglm.training.horizon_epochs == 90
    assert (chatglm.training.learning_rate, chatglm.training.epsilon) == (5e-5, 1e-4)
    assert (chatglm.training.batch_size, chatglm.training.patience) == (8, 8)
    assert chatglm.training.gradient_clip is None
    assert chatglm.injector.settings == {"tokens": 4}
    qwen = resolved(REGISTRY.recipe("mse-adapter", "meld", "qwen-1.8b")).config
    assert qwen.injector.settings == {"tokens": 2}
    assert (qwen.training.batch_size, qwen.training.learning_rate) == (16, 5e-4)
    llama = resolved(REGISTRY.recipe("mse-adapter", "cherma", "llama2-7b")).config
    assert (llama.training.batch_size, llama.training.learning_rate) == (6, 5e-5)


def test_published_figures_name_our_metrics_and_their_source() -> None:
    published = REGISTRY.published()
    assert len(published) == 36
    for result in published:
        family = REGISTRY.dataset(result.dataset).metrics
        for name, value in result.metrics.items():
            assert find_metric(family, name).name == name
            assert 0 < value < 1
        assert result.source
        assert result.confidence.split(":")[0] in ("high", "medium", "low")
        if result.backbone:
            REGISTRY.backbone(result.backbone)
