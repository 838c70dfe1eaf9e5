"""`msakit inspect`: look into prompts and pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msakit.cli.build import describe, measure, totals
from msakit.cli.context import options
from msakit.cli.render import data_console, print_json, print_table
from msakit.cli.settings import AsJson, Overrides, parse_overrides

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look into prompts and pipelines.")


@app.command("prompt", epilog='Example: msakit inspect prompt pipeline.yaml --text "what a film"')
def prompt(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline file.")],
    *,
    text: Annotated[str, typer.Option(help="The utterance.")] = "What a wonderful film.",
    assignments: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the literal token layout of a sample. Loads the backbone, for its tokenizer."""
    from msakit.core.builder import build_pipeline
    from msakit.core.config import read_pipeline
    from msakit.core.resolution import resolve

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
    data_console().print(
        f"\n{sum(int(str(r['tokens'])) for r in rows)} tokens, then one of {len(answers)} answers: "
        f"{answers.texts[0]} ... {answers.texts[-1]}"
    )


@app.command("pipeline", epilog="Example: msakit inspect pipeline pipeline.yaml")
def pipeline_(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline file.")],
    *,
    assignments: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show a pipeline's parts and parameters, as `msakit build` does."""
    from msakit.core.config import read_pipeline
    from msakit.core.resolution import resolve

    registry = options.registry()
    resolved = resolve(read_pipeline(pipeline, parse_overrides(assignments)), registry, source=str(pipeline))
    facts, adapter = measure(resolved, registry, None)
    rows = describe(resolved, adapter, facts)
    if as_json:
        print_json({"pipeline": resolved.as_yaml(), **totals(adapter, facts), "parts": rows})
        return
    cells = [(r["part"], r["component"], f"{r['trainable']:,}", r["source"]) for r in rows]
    print_table("", ("part", "component", "trainable", "source"), cells, right=("trainable",))
