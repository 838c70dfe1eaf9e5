"""`msakit evaluate`: metrics and predictions of a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.render import print_json, progress_bar, say
from msakit.cli.results import print_metrics
from msakit.cli.settings import AsJson
from msakit.core.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

HOWS = ("absent", "mean", "shuffled")


@app.command(epilog="Example: msakit evaluate runs/first --split test --without audio")
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    *,
    split: Annotated[list[str] | None, typer.Option(help="train, valid or test; may be repeated.")] = None,
    store: Annotated[Path | None, typer.Option(help="Another store than the run was trained on.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Take a modality away (text included): MODALITY, or MODALITY=absent|mean|shuffled."
        ),
    ] = None,
    decode: Annotated[str | None, typer.Option(help="score or generate, instead of the run's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's best checkpoint: predictions to disk first, metrics second."""
    from msakit.workflows.evaluate import evaluate_run
    from msakit.workflows.load import load_run, stored_samples, with_decoding

    ablations = [_ablation(text) for text in without or ()]
    trained = with_decoding(load_run(run, options.registry()), decode)
    samples = stored_samples(trained, store)
    splits = split or ["test"]
    total = sum(len(samples.rows(name)) for name in splits)
    with progress_bar() as bar:
        task = bar.add_task("Evaluating", total=total, note="")
        report = evaluate_run(
            trained,
            samples,
            splits,
            ablations=ablations,
            store=store,
            on_batch=lambda done: bar.advance(task, done),
        )
    if as_json:
        print_json({"condition": report.condition, "splits": report.splits, "warnings": report.warnings})
        return
    print_metrics(str(run), report.splits)
    for warning in report.warnings:
        say(f"Warning: {warning}")


def _ablation(text: str) -> Any:
    from msakit.evaluation.ablation import Ablation

    modality, _, how = text.partition("=")
    if how not in ("", *HOWS):
        raise InputError(f"--without {text}: '{how}' is not one of {', '.join(HOWS)}.")
    return Ablation(modality, how or "absent")  # type: ignore[arg-type]
