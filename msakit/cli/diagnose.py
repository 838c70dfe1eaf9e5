"""`msakit diagnose`: look inside a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msakit.cli.context import options
from msakit.cli.places import OtherStore, RunArgument
from msakit.cli.render import data_console, number, print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson
from msakit.core.errors import MissingExtraError
from msakit.core.files import to_json

if TYPE_CHECKING:
    from msakit.evaluation.diagnosis import Diagnosis, WeightsSummary
    from msakit.metrics import Metric

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit diagnose runs/egmf --split valid --samples 200")
def diagnose(
    run: RunArgument,
    *,
    split: Annotated[str, typer.Option(help="Split to diagnose.")] = "test",
    samples: Annotated[int | None, typer.Option(min=2, help="Use at most this many samples.")] = None,
    store: OtherStore = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder for pictures. [default: RUN/diagnosis]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Diagnose a run: what each modality contributes, and how its fusion behaves.

    Metrics with each modality alone, each removed and every other choice; the gate's weights; how alike the
    experts are; how much of the fused features survives in the pseudo tokens; attention over time; texts
    that were cut. Written to diagnosis.json and, as pictures, beside it.
    """
    from msakit.evaluation.diagnosis import subsets
    from msakit.metrics import validation_metric
    from msakit.runs.results import run_folders
    from msakit.workflows.diagnose import chosen_rows, diagnose_run
    from msakit.workflows.load import load_run, stored_samples

    folder = run_folders(run)[0]
    trained = load_run(folder, options.registry())
    stored = stored_samples(trained, store)
    with progress_bar() as bar:
        total = len(chosen_rows(stored, split, samples)) * len(subsets(trained.streams) or [()])
        task = bar.add_task("Diagnosing", total=total, note="")
        found = diagnose_run(
            trained, stored, split, limit=samples, on_batch=lambda done: bar.advance(task, done)
        )
    place = output or folder / "diagnosis"
    content = _as_json(found)
    metric = validation_metric(trained.resolved.dataset.metrics)
    written = _write(found, metric, place, content)
    if as_json:
        print_json(content)
    else:
        _print(found, str(folder))
    for file in written:
        say(f"Wrote {file}")


def _as_json(found: Diagnosis) -> dict[str, Any]:
    """The findings without per-sample values, which are in the predictions."""
    content = asdict(found)
    del content["samples"]
    content["truncation"] = {**found.truncation.model_dump(), "share": found.truncation.share}
    return content


def _write(found: Diagnosis, metric: Metric, place: Path, content: dict[str, Any]) -> list[Path]:
    place.mkdir(parents=True, exist_ok=True)
    written = [place / "diagnosis.json"]
    written[0].write_text(to_json(content) + "\n", encoding="utf-8")
    try:
        from msakit.reports.diagnosis_figures import diagnosis_figures

        for name, figure in diagnosis_figures(found, metric).items():
            written.append(place / f"{name}.svg")
            written[-1].write_text(figure.svg, encoding="utf-8")
    except MissingExtraError as error:
        say(f"No pictures: {error}")
    return written


def _print(found: Diagnosis, run: str) -> None:
    names = list(found.dependency[0].metrics)
    rows = [
        (" + ".join(one.streams), *(number(one.metrics[name]) for name in names)) for one in found.dependency
    ]
    title = f"{run}, {found.split} split, {found.num_samples} samples"
    print_table(title, ("with", *names), rows, right=names)
    for name, summary in found.weights.items():
        _print_weights(_title(found, name), summary)
    facts = [
        (f"{_title(found, name)}: {entry}".removesuffix(": "), number(value))
        for name, entries in found.scalars.items()
        for entry, value in entries.items()
    ]
    if found.survival is not None:
        facts.append(("CKA of fused features and pseudo tokens", number(found.survival)))
    facts.append(("share of utterances cut", number(found.truncation.share)))
    data_console().print()
    print_table("", ("", "mean"), facts, right=("mean",))
    for complaint in found.complaints:
        say(f"Warning: {complaint}")


def _print_weights(title: str, summary: WeightsSummary) -> None:
    columns = ("", "mean weight", "sd over samples")
    rows = [(entry, number(mean), number(summary.deviation[entry])) for entry, mean in summary.mean.items()]
    data_console().print()
    print_table(title, columns, rows, right=columns[1:])
    varies = "varies" if summary.varies else "does not vary"
    data_console().print(
        f"{summary.effective:.2f} used per sample; one above 0.95 in {summary.one_hot_share:.0%} of them, "
        f"all equal in {summary.uniform_share:.0%}; the weight {varies} with the sample."
    )


def _title(found: Diagnosis, name: str) -> str:
    return found.described[name].title if name in found.described else name
