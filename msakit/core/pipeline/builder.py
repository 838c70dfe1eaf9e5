"""Resolved pipelines to modules: the only place where components are instantiated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from msakit.core.errors import ConfigError
from msakit.core.pipeline.adapter import Adapter
from msakit.core.pipeline.answers import AnswerSet
from msakit.core.pipeline.pipeline import Pipeline
from msakit.core.pipeline.prompt import PromptBuilder, PromptTemplate
from msakit.core.pipeline.readout import AnswerHead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msakit.core.interfaces import Backbone, BackboneFacts
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Choice, Registry


_LARGEST_SIZE = 1 << 20
_LARGEST = {"layers": 1 << 9, "heads": 1 << 12, "tokens": 1 << 12}


def build_adapter(
    resolved: ResolvedPipeline,
    registry: Registry,
    *,
    widths: Mapping[str, int],
    hidden_size: int,
    device: str = "cpu",
) -> Adapter:
    """Encoders, fuser and injector for features of these widths and a backbone of this width.

    Args:
        resolved: The pipeline.
        registry: Where the classes are looked up.
        widths: Modality to feature width (D).
        hidden_size: Backbone width (H).
        device: "meta" builds shapes without memory, which is enough to count parameters.

    Raises:
        ConfigError: A component refuses the widths or settings it is given.
    """

    def make(key: str, component: Choice, **sizes: Any) -> Any:
        settings = dict(component.settings)
        _check_sizes(key, settings)
        target = registry.load_target(component.spec)
        try:
            return target(**sizes, **settings)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError("the pipeline", [(key, f"{component.spec.short}: {error}")]) from error

    if device != "meta":
        weightless = build_adapter(resolved, registry, widths=widths, hidden_size=hidden_size, device="meta")
        _check_memory(weightless)

    with torch.device(device):
        encoders = {
            name: make(f"encoders.{name}", encoder, input_size=_width(name, widths))
            for name, encoder in resolved.encoders.items()
        }
        sizes = {name: encoder.output_size for name, encoder in encoders.items()}
        fuser = make("fuser", resolved.fuser, modality_sizes=sizes, text_size=hidden_size)
        injector = make(
            "injector",
            resolved.injector,
            input_size=fuser.output_size,
            input_tokens=fuser.num_tokens,
            hidden_size=hidden_size,
        )
        return Adapter(
            encoders,
            fuser,
            injector,
            widths={name: widths[name] for name in encoders},
            text_size=hidden_size if resolved.config.prompt.text_states_scaling == "standard" else None,
            absent_sizes=sizes if resolved.config.features.absent == "learned" else None,
            head=_answer_head(resolved, hidden_size),
        )


def _answer_head(resolved: ResolvedPipeline, hidden_size: int) -> AnswerHead | None:
    answers = resolved.config.answers
    if answers.readout == "tokens":
        return None
    is_regression = resolved.dataset.task == "regression"
    return AnswerHead(hidden_size, 1 if is_regression else len(resolved.dataset.labels), answers.head_loss)


def _check_sizes(key: str, settings: Mapping[str, Any]) -> None:
    """Refuse counts and widths that no component is made for, before anything is built of them."""
    for name, value in settings.items():
        largest = next((limit for word, limit in _LARGEST.items() if word in name), _LARGEST_SIZE)
        if isinstance(value, int) and value > largest:
            raise ConfigError("the pipeline", [(f"{key}.{name}", f"{value:,} is more than {largest:,}")])


def _check_memory(adapter: Adapter) -> None:
    """Refuse an adapter that this machine's memory cannot hold."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in adapter.state_dict().values())
    if needed > memory:
        problem = f"the adapter takes {needed / 1e9:,.0f} GB of memory; this machine has {memory / 1e9:,.0f}"
        raise ConfigError("the pipeline", [("", problem)], hint="Choose smaller widths.")


def _width(modality: str, widths: Mapping[str, int]) -> int:
    if modality not in widths:
        known = ", ".join(widths) or "none"
        problem = (
            f"no feature width is known for this modality (known: {known}); set dataset.features.{modality}"
        )
        raise ConfigError("the pipeline", [(f"encoders.{modality}", problem)])
    return widths[modality]


def measure_backbone(resolved: ResolvedPipeline, registry: Registry) -> BackboneFacts:
    """The size of a pipeline's backbone, with no weights loaded."""
    loader = registry.load_target(resolved.backbone.spec)()
    facts: BackboneFacts = loader.measure(resolved.backbone_spec, resolved.backbone.settings)
    return facts


def load_backbone(resolved: ResolvedPipeline, registry: Registry) -> Backbone:
    """A pipeline's backbone, with its weights."""
    loader = registry.load_target(resolved.backbone.spec)()
    backbone: Backbone = loader.load(resolved.backbone_spec, resolved.backbone.settings)
    return backbone


def build_pipeline(
    resolved: ResolvedPipeline,
    registry: Registry,
    *,
    widths: Mapping[str, int],
    backbone: Backbone | None = None,
) -> Pipeline:
    """The whole pipeline, ready to train; the adapter's weights are drawn from torch's generator.

    Args:
        resolved: The pipeline.
        registry: Where classes are looked up.
        widths: Modality to feature width (D).
        backbone: A backbone that is already loaded, to be shared between pipelines.
    """
    backbone = backbone or load_backbone(resolved, registry)
    adapter = build_adapter(resolved, registry, widths=widths, hidden_size=backbone.hidden_size)
    config = resolved.config
    return Pipeline(
        adapter.to(backbone.device),
        backbone,
        PromptBuilder(prompt_template(resolved), backbone, config.prompt.max_text_tokens),
        answer_set(resolved),
        text_states=config.prompt.text_states,
        continuation=config.answers.continuation,
        reduction=config.answers.reduction if resolved.dataset.task == "regression" else None,
    )


def prompt_template(resolved: ResolvedPipeline) -> PromptTemplate:
    """The wording of a pipeline's prompts: the dataset's, with what its backbone wants otherwise."""
    dataset, spec, prompt = resolved.dataset, resolved.backbone_spec, resolved.config.prompt
    wording = {**dataset.prompts, **dataset.prompts.get("backbones", {}).get(spec.name, {})}
    if not (task := prompt.task or wording.get("task")):
        raise ConfigError("the pipeline", [("prompt.task", f"the dataset '{dataset.name}' has none")])
    usual = PromptTemplate.for_language(dataset.language, task)
    return PromptTemplate(
        task,
        spec.prompt.get("open_tags", {}).get(dataset.language, wording.get("open", usual.open_tag)),
        wording.get("close", usual.close_tag),
        prompt.layout,
        wording.get("lead_in", "") if prompt.task is None else "",
    )


def answer_set(resolved: ResolvedPipeline) -> AnswerSet:
    """The admissible answers of a pipeline, written as its backbone was trained to write numbers."""
    dataset, answers = resolved.dataset, resolved.config.answers
    if dataset.task == "regression" and dataset.label_range is not None:
        sign = answers.sign or resolved.backbone_spec.prompt.get("sign", "plus")
        return AnswerSet.regression(*dataset.label_range, sign=sign)
    return AnswerSet.classification(dataset.labels, style=answers.style)
