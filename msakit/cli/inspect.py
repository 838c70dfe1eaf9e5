"""`msakit inspect`: look into prompts, pipelines and samples."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.build import show_pipeline
from msakit.cli.context import options
from msakit.cli.cost_table import show_cost
from msakit.cli.pipeline_options import PipelineFile
from msakit.cli.places import OtherStore, RunArgument, StoreOfWidths, StoreToRead
from msakit.cli.render import print_json, print_table, print_text, say
from msakit.cli.settings import AsJson, Overrides, parse_overrides
from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.workflows.sample_view import SampleView

MOST_SHOWN = 16

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    help="Inspect prompts, pipelines and samples.",
)


@app.command("prompt", epilog='Example: msakit inspect prompt pipeline.yaml --text "what a film"')
def prompt(
    pipeline: PipelineFile,
    *,
    text: Annotated[str, typer.Option(help="The utterance.")] = "What a wonderful film.",
    assignments: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the literal token layout of a sample. Loads the backbone, for its tokenizer."""
    from msakit.core.pipeline.builder import build_pipeline
    from msakit.core.pipeline.config import read_pipeline
    from msakit.core.pipeline.resolution import resolve

    registry = options.registry()
    resolved = resolve(read_pipeline(pipeline, parse_overrides(assignments)), registry, source=str(pipeline))
    widths = {name: resolved.dataset.features.get(name, 1) for name in resolved.encoders}
    built = build_pipeline(resolved, registry, widths=widths)
    pieces = built.prompts.pieces(text if resolved.config.prompt.text else None)
    count = built.adapter.injector.num_tokens
    rows = [
        {
            "role": piece.role,
            "tokens": count if piece.role == "pseudo" else len(piece.token_ids),
            "text": f"P1..P{count}" if piece.role == "pseudo" else piece.text,
            "ids": list(piece.token_ids),
        }
        for piece in pieces
    ]
    answers = built.answers
    if as_json:
        print_json({"pieces": rows, "answers": list(answers.texts)})
        return
    shown = [(str(r["role"]), str(r["tokens"]), repr(r["text"]), " ".join(map(str, r["ids"]))) for r in rows]  # type: ignore[arg-type]
    print_table("", ("piece", "tokens", "text", "ids"), shown, right=("tokens",))
    print_text(
        f"\n{sum(int(str(r['tokens'])) for r in rows)} tokens, then one of {len(answers)} answers: "
        f"{answers.texts[0]} ... {answers.texts[-1]}"
    )


@app.command("pipeline", epilog="Example: msakit inspect pipeline pipeline.yaml")
def pipeline_(
    pipeline: PipelineFile,
    *,
    store: StoreOfWidths = None,
    assignments: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show a pipeline's parts and parameters, as `msakit build` does."""
    from msakit.core.pipeline.config import read_pipeline
    from msakit.core.pipeline.parameters import measure_pipeline
    from msakit.core.pipeline.resolution import resolve

    registry = options.registry()
    resolved = resolve(read_pipeline(pipeline, parse_overrides(assignments)), registry, source=str(pipeline))
    sizes = measure_pipeline(resolved, registry, _widths(pipeline, resolved, store))
    show_pipeline(resolved, sizes, as_json=as_json)


def _widths(pipeline: Path, resolved: ResolvedPipeline, store: Path | None) -> Mapping[str, int] | None:
    """Feature widths of the store, or of the run the pipeline file belongs to; else the dataset's own."""
    from msakit.runs.folder import Run
    from msakit.workflows.assemble import stored_widths

    run = Run(pipeline.parent)
    if store is None and run.adapter_file.is_file():
        return run.widths()
    return stored_widths(resolved, store)


@app.command(
    "memory", epilog="Example: msakit inspect memory examples/pipelines/mse_adapter.yaml --store features"
)
def memory(
    pipeline: PipelineFile,
    *,
    store: StoreToRead,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... Default: the pipeline's.")] = None,
    assignments: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what a training takes: memory by counting, time by a few batches.

    Loads the backbone and runs the forward pass of a few samples; trains and writes nothing.
    """
    from msakit.core.pipeline.config import read_pipeline
    from msakit.core.pipeline.resolution import resolve
    from msakit.workflows.cost import estimate_cost

    registry = options.registry()
    overrides = parse_overrides(assignments)
    overrides += [("backbone.device", device)] if device else []
    resolved = resolve(read_pipeline(pipeline, overrides), registry, source=str(pipeline))
    cost, _ = estimate_cost(resolved, registry, store)
    show_cost(cost, as_json=as_json)


@app.command("sample", epilog="Example: msakit inspect sample runs/mine movie05708 -o maps")
def sample(
    run: RunArgument,
    sample_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a stored sample.")],
    *,
    store: OtherStore = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for attention maps, one SVG each."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one sample as a run sees it: answer, expert weights, attention of its words over the frames."""
    from msakit.workflows.load import load_run, stored_samples
    from msakit.workflows.sample_view import view_sample

    trained = load_run(run, options.registry())
    view = view_sample(trained, stored_samples(trained, store), sample_id)
    written = _draw_maps(view, output) if output else []
    if as_json:
        diagnostics = {name: values.tolist() for name, values in view.diagnostics.items()}
        print_json({**asdict(view.answer), "tokens": view.tokens, "diagnostics": diagnostics})
        return
    rows = [("answer", str(view.answer.prediction))]
    rows += [("likeliest", f"{name} {chance:.3f}") for name, chance in view.answer.likeliest]
    rows += [("without", name) for name in view.answer.absent]
    rows += [(name, _shown(values)) for name, values in view.diagnostics.items()]
    print_table("", (sample_id, ""), rows)
    for file in written:
        say(f"Wrote {file}")


def _shown(values: NDArray[Any]) -> str:
    if values.size > MOST_SHOWN:
        return " x ".join(map(str, values.shape))
    return " ".join(f"{value:.3f}" for value in values.ravel().tolist())


def _draw_maps(view: SampleView, folder: Path) -> list[Path]:
    from msakit.reports.diagnostic_figures import attention_maps

    if not view.maps:
        raise InputError(
            "The run's fuser shows no attention map of this sample.",
            hint="Fusers that attend from one stream to another do, of samples that have both streams.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for figure in attention_maps(view.maps, view.tokens, view.described, view.frame_shifts_s):
        files.append(folder / f"{view.answer.id} {figure.title}.svg".replace(" ", "_").replace("/", "_"))
        files[-1].write_text(figure.svg, encoding="utf-8")
    return files
