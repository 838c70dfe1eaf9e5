"""`msakit build`: assemble a pipeline, check it, count it; no weights needed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.pipeline_options import (
    BackboneName,
    DatasetName,
    EncoderNames,
    FuserName,
    InjectorName,
    RecipeName,
    named,
)
from msakit.cli.places import StoreOfWidths
from msakit.cli.render import data_console, print_json, print_table, say, warn_of
from msakit.cli.settings import AsJson, Overrides, parse_overrides

if TYPE_CHECKING:
    from msakit.core.pipeline.parameters import Sizes
    from msakit.core.pipeline.resolution import ResolvedPipeline

app = typer.Typer(add_completion=False, rich_markup_mode=None)

GIGABYTE = 1024**3


@app.command(
    epilog="Example: msakit build --fuser tgm --injector pseudo6 --backbone qwen-1.8b --dataset mosei"
)
def build(
    *,
    recipe: RecipeName = None,
    dataset: DatasetName = None,
    encoder: EncoderNames = None,
    fuser: FuserName = None,
    injector: InjectorName = None,
    backbone: BackboneName = None,
    assignments: Overrides = None,
    store: StoreOfWidths = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the complete pipeline file here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Assemble a pipeline from names and count its parameters exactly, without loading any weights."""
    from msakit.core.pipeline.parameters import measure_pipeline
    from msakit.workflows.assemble import assemble_pipeline, stored_widths

    registry = options.registry()
    resolved = assemble_pipeline(
        registry,
        named(dataset=dataset, fuser=fuser, injector=injector, backbone=backbone),
        encoders=encoder or [],
        recipe=recipe,
        overrides=parse_overrides(assignments),
        store=store,
    )
    sizes = measure_pipeline(resolved, registry, stored_widths(resolved, store))
    if output:
        _write(output, resolved, force=force)
    show_pipeline(resolved, sizes, as_json=as_json)
    if output and not as_json:
        say(f"Wrote {output}. Train it with: msakit train {output} --store {store or 'STORE'}")


def show_pipeline(resolved: ResolvedPipeline, sizes: Sizes, *, as_json: bool) -> None:
    """Print a pipeline's parts, what they train, and the memory of its weights."""
    warn_of(resolved.warnings)
    if as_json:
        parts = [asdict(part) for part in sizes.parts]
        print_json({"pipeline": resolved.as_yaml(), **sizes.totals(), "parts": parts})
        return
    print_table(
        f"{resolved.dataset.name} ({resolved.dataset.task})",
        ("part", "component", "trainable", "source"),
        [(part.part, part.component, f"{part.trainable:,}", part.source) for part in sizes.parts],
        right=("trainable",),
    )
    data_console().print(
        f"\nTrainable parameters: {sizes.trainable:,} "
        f"({sizes.share:.4%} of the backbone's {sizes.backbone_parameters:,})\n"
        f"Memory: {sizes.weights_bytes / GIGABYTE:.2f} GiB backbone weights, "
        f"{sizes.training_bytes / GIGABYTE:.3f} GiB trained weights with optimiser; "
        "activations come on top"
    )


def _write(output: Path, resolved: ResolvedPipeline, *, force: bool) -> None:
    from msakit.core.atomic import write_text_atomically
    from msakit.core.errors import InputError
    from msakit.core.files import dump_yaml

    if output.exists() and not force:
        raise InputError(f"{output} exists.", hint="Choose another name, or overwrite it with --force.")
    write_text_atomically(output, dump_yaml(resolved.as_yaml()))
