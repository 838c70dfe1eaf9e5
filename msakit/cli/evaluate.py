"""`msakit evaluate`: metrics and predictions of a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.places import OtherStore, RunOrSeeds
from msakit.cli.render import print_json, progress_bar, say
from msakit.cli.results import print_metrics
from msakit.cli.settings import AsJson
from msakit.core.errors import InputError

if TYPE_CHECKING:
    from msakit.evaluation.ablation import Ablation
    from msakit.workflows.evaluate import Report

app = typer.Typer(add_completion=False, rich_markup_mode=None)

HOWS = ("absent", "mean", "shuffled")


@app.command(epilog="Example: msakit evaluate runs/first --split test --without audio")
def evaluate(
    run: RunOrSeeds,
    *,
    split: Annotated[list[str] | None, typer.Option(help="train, valid or test; may be repeated.")] = None,
    store: OtherStore = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Another dataset of the store, of the same task.")
    ] = None,
    allow_feature_drift: Annotated[
        bool,
        typer.Option("--allow-feature-drift", help="Accept features that were extracted differently."),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODALITY",
            help="Take a modality away, text included; MODALITY=mean or =shuffled replaces it.",
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            metavar="MODALITY=RATE,...",
            help="Take modalities from a share of the samples: audio=0.3,text=0.5.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which samples --missing takes from.")] = 0,
    decode: Annotated[str | None, typer.Option(help="score or generate. [default: as in training]")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's best checkpoint: predictions to disk first, metrics second.

    The run's own results are never replaced: what was made with other decoding, another store or without a
    modality gets a folder of its own in RUN/evaluations, and so does a repetition.
    """
    from msakit.runs.results import run_folders

    ablations = [_ablation(text) for text in without or ()] + _missing(missing, seed)
    conditions = Conditions(
        split or ["test"], ablations, store, decode, dataset=dataset, allow_drift=allow_feature_drift
    )
    reports = {folder: _evaluate(folder, conditions) for folder in run_folders(run)}
    if as_json:
        contents = {folder.name: _as_json(report) for folder, report in reports.items()}
        print_json(contents if len(contents) > 1 else next(iter(contents.values())))
        return
    for folder, report in reports.items():
        _print(folder, report)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The splits to evaluate, and how."""

    splits: list[str]
    ablations: list[Ablation]
    store: Path | None
    decode: str | None
    dataset: str | None = None
    allow_drift: bool = False


def _evaluate(folder: Path, conditions: Conditions) -> Report:
    from msakit.workflows.evaluate import Watch, evaluate_run
    from msakit.workflows.load import load_run, stored_samples, with_decoding

    trained = with_decoding(load_run(folder, options.registry()), conditions.decode)
    samples = stored_samples(
        trained,
        conditions.store,
        dataset=conditions.dataset,
        allow_drift=conditions.allow_drift,
        on_warning=say,
    )
    total = sum(len(samples.rows(name)) for name in conditions.splits)
    with progress_bar() as bar:
        reading = bar.add_task("Reading prompts", visible=False, note="")
        task = bar.add_task(f"Evaluating {folder.name}", total=total, note="")
        return evaluate_run(
            trained,
            samples,
            conditions.splits,
            ablations=conditions.ablations,
            store=conditions.store,
            watch=Watch(
                on_prepare=lambda done, all_: bar.update(reading, visible=True, completed=done, total=all_),
                on_batch=lambda done: bar.advance(task, done),
            ),
        )


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "condition": report.condition,
        "splits": report.splits,
        "differences": report.differences,
        "folders": {split: str(folder) for split, folder in report.folders.items()},
        "warnings": report.warnings,
    }


def _print(folder: Path, report: Report) -> None:
    print_metrics(f"{folder} {report.condition}".strip(), report.splits)
    for warning in report.warnings:
        say(f"Warning: {warning}")
    for split, differences in report.differences.items():
        found = ", ".join(f"{name} {now:.4f} ({was:.4f})" for name, (was, now) in differences.items())
        say(f"{split}: " + (f"other than recorded: {found}" if found else "equal to the recorded result."))
    for place in dict.fromkeys(report.folders.values()):
        say(f"Written to {place}")


def _missing(text: str | None, seed: int) -> list[Any]:
    from msakit.evaluation.ablation import Ablation

    ablations = []
    for part in text.split(",") if text else ():
        modality, _, rate = part.strip().partition("=")
        try:
            ablations.append(Ablation(modality, rate=float(rate), seed=seed))
        except ValueError as error:
            raise InputError(f"--missing {part}: expected MODALITY=RATE, such as audio=0.3.") from error
    return ablations


def _ablation(text: str) -> Ablation:
    from msakit.evaluation.ablation import Ablation

    modality, _, how = text.partition("=")
    if how not in ("", *HOWS):
        raise InputError(f"--without {text}: '{how}' is not one of {', '.join(HOWS)}.")
    return Ablation(modality, how or "absent")  # type: ignore[arg-type]
