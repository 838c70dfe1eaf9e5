"""`msakit build`: assemble a pipeline, check it, count it; no weights needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.render import data_console, print_json, print_table, say
from msakit.cli.settings import AsJson, Overrides, parse_overrides
from msakit.core.errors import ConfigError

if TYPE_CHECKING:
    from msakit.core.interfaces import BackboneFacts
    from msakit.core.pipeline.adapter import Adapter
    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULTS: dict[str, Any] = {
    "dataset": "mosei",
    "fuser": "tgm",
    "injector": "pseudo6",
    "backbone": "smollm2-135m",
}
DEFAULT_ENCODERS = {"needs_summary": "lstm", "needs_sequence": "bilstm"}
GIGABYTE = 1024**3


@app.command(
    epilog="Example: msakit build --fuser tgm --injector pseudo6 --backbone qwen-1.8b --dataset mosei"
)
def build(
    *,
    recipe: Annotated[
        str | None, typer.Option(help="Start from a paper's settings (see components list recipe).")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Task, labels, prompts and feature widths.")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="An encoder for all modalities, or MODALITY=NAME; may be repeated."),
    ] = None,
    fuser: Annotated[str | None, typer.Option(help="How text and modalities are fused.")] = None,
    injector: Annotated[str | None, typer.Option(help="How fused tokens become pseudo tokens.")] = None,
    backbone: Annotated[str | None, typer.Option(help="A backbone's name, hf:ORG/NAME, or a folder.")] = None,
    assignments: Overrides = None,
    store: Annotated[Path | None, typer.Option(help="Take the feature widths from this store.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the complete pipeline file here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Assemble a pipeline from names and count its parameters exactly, without loading any weights."""
    registry = options.registry()
    chosen = {"dataset": dataset, "fuser": fuser, "injector": injector, "backbone": backbone}
    content = assemble(registry, recipe, {key: name for key, name in chosen.items() if name}, encoder or [])
    from msakit.core.pipeline.config import override, parse_pipeline
    from msakit.core.pipeline.resolution import resolve

    content = override(content, parse_overrides(assignments))
    resolved = resolve(parse_pipeline(content, "the pipeline"), registry, source="the pipeline")
    facts, adapter = measure(resolved, registry, store)
    if output:
        _write(output, resolved, force=force)
    rows = describe(resolved, adapter, facts)
    if as_json:
        print_json({"pipeline": resolved.as_yaml(), **totals(adapter, facts), "parts": rows})
        return
    _show(resolved, adapter, facts, rows)
    if output:
        say(f"Wrote {output}. Train it with: msakit train {output} --store STORE")


def assemble(
    registry: Registry, recipe: str | None, names: dict[str, str], encoders: list[str]
) -> dict[str, Any]:
    """The content of a pipeline file from what was named; what was not gets a default.

    Raises:
        UnknownNameError: There is no such recipe.
        ConfigError: An --encoder names no modality of the dataset.
    """
    from msakit.core.pipeline.config import merge

    content = dict(DEFAULTS)
    if recipe:
        found = registry.recipe(recipe, names.get("dataset", DEFAULTS["dataset"]), names.get("backbone"))
        content = merge({"dataset": found.dataset, "backbone": found.backbone}, found.pipeline)
    content = merge(content, names)
    if encoders or "encoders" not in content:
        content["encoders"] = _encoders(registry, content, encoders)
    return content


def _encoders(registry: Registry, content: dict[str, Any], given: list[str]) -> dict[str, str]:
    from msakit.core.pipeline.config import ComponentChoice, DatasetChoice
    from msakit.core.pipeline.resolution import resolve_dataset

    known = resolve_dataset(DatasetChoice.model_validate(content["dataset"]), registry).features
    modalities = list(known) or ["audio", "vision"]
    named = dict(choice.split("=", 1) for choice in given if "=" in choice)
    if strangers := [name for name in named if name not in modalities]:
        problem = f"the dataset has no such modality; it has {', '.join(modalities)}"
        raise ConfigError("--encoder", [(name, problem) for name in strangers])
    fuser = registry.component("fuser", ComponentChoice.model_validate(content["fuser"]).name).spec
    fitting = [name for need, name in DEFAULT_ENCODERS.items() if need in fuser.capabilities]
    shared = [choice for choice in given if "=" not in choice] or fitting or ["lstm"]
    if not given and not fuser.capabilities & set(DEFAULT_ENCODERS):
        return {}
    if named and not [choice for choice in given if "=" not in choice]:
        return named
    return {name: named.get(name, shared[-1]) for name in modalities}


def measure(
    resolved: ResolvedPipeline, registry: Registry, store: Path | None
) -> tuple[BackboneFacts, Adapter]:
    """Sizes of the backbone and a weightless adapter."""
    from msakit.core.pipeline.builder import build_adapter, measure_backbone

    widths = dict(resolved.dataset.features)
    if store:
        from msakit.samples.samples import Samples

        widths = Samples.open(store, resolved).widths
    facts = measure_backbone(resolved, registry)
    adapter = build_adapter(resolved, registry, widths=widths, hidden_size=facts.hidden_size, device="meta")
    return facts, adapter


def describe(resolved: ResolvedPipeline, adapter: Adapter, facts: BackboneFacts) -> list[dict[str, Any]]:
    """One row a part: what it is, where it comes from, what it trains."""
    counts = adapter.count_parameters()
    components = {f"encoders.{name}": part for name, part in resolved.encoders.items()}
    components |= {"fuser": resolved.fuser, "injector": resolved.injector}
    rows = [
        {
            "part": key,
            "component": part.spec.full_name,
            "trainable": counts[key],
            "source": part.spec.source.paper or "",
        }
        for key, part in components.items()
    ]
    backbone = resolved.backbone_spec
    origin = str(backbone.weights.get("repository", backbone.name))
    return [
        *rows,
        {"part": "backbone", "component": backbone.name, "trainable": facts.num_trainable, "source": origin},
    ]


def totals(adapter: Adapter, facts: BackboneFacts) -> dict[str, Any]:
    """Trainable parameters, their share of the backbone, and the memory the weights take."""
    trainable = sum(adapter.count_parameters().values()) + facts.num_trainable
    return {
        "trainable": trainable,
        "backbone_parameters": facts.num_parameters,
        "share": trainable / facts.num_parameters,
        "weights_bytes": facts.weight_bytes,
        # Weights, gradient and AdamW's two moments, all float32.
        "training_bytes": 16 * trainable,
    }


def _show(
    resolved: ResolvedPipeline, adapter: Adapter, facts: BackboneFacts, rows: list[dict[str, Any]]
) -> None:
    print_table(
        f"{resolved.dataset.name} ({resolved.dataset.task})",
        ("part", "component", "trainable", "source"),
        [(row["part"], row["component"], f"{row['trainable']:,}", row["source"]) for row in rows],
        right=("trainable",),
    )
    sums = totals(adapter, facts)
    data_console().print(
        f"\nTrainable parameters: {sums['trainable']:,} "
        f"({sums['share']:.4%} of the backbone's {facts.num_parameters:,})\n"
        f"Memory: {sums['weights_bytes'] / GIGABYTE:.2f} GiB backbone weights, "
        f"{sums['training_bytes'] / GIGABYTE:.3f} GiB trained weights with optimiser; activations come on top"
    )


def _write(output: Path, resolved: ResolvedPipeline, *, force: bool) -> None:
    from msakit.core.errors import InputError
    from msakit.core.files import dump_yaml
    from msakit.runs.folder import write_atomically

    if output.exists() and not force:
        raise InputError(f"{output} exists.", hint="Choose another name, or overwrite it with --force.")
    text = dump_yaml(resolved.as_yaml())
    write_atomically(output, lambda path: path.write_text(text, encoding="utf-8"))
