"""`msakit robustness`: what a run is worth when modalities are missing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msakit.cli.context import options
from msakit.cli.places import OtherStore, RunArgument
from msakit.cli.render import number, print_json, print_table, progress_bar, say
from msakit.cli.settings import AsJson
from msakit.core.errors import InputError, MissingExtraError
from msakit.core.files import to_json

if TYPE_CHECKING:
    from msakit.metrics import Metric
    from msakit.workflows.robustness import Robustness

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: msakit robustness runs/first --rates 0,0.5,1 --seeds 1,2,3")
def robustness(
    run: RunArgument,
    *,
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "test",
    rates: Annotated[
        str, typer.Option(help="Shares of the samples that lack a stream.")
    ] = "0,0.25,0.5,0.75,1",
    seeds: Annotated[str, typer.Option(help="Decide which samples; curves are means over them.")] = "1,2,3",
    samples: Annotated[int | None, typer.Option(min=2, help="Use at most this many samples.")] = None,
    store: OtherStore = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder to write to. [default: RUN/robustness]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take text, audio and vision from more and more samples and measure what is left.

    Curves of the main metric against the missing rate, for each stream and for all at once. Written to
    robustness.json and, as a picture, robustness.svg.
    """
    shares, numbers = _rates(rates), _seeds(seeds)
    from msakit.metrics import validation_metric
    from msakit.runs.results import run_folders
    from msakit.workflows.diagnose import chosen_rows
    from msakit.workflows.load import load_run, stored_samples
    from msakit.workflows.robustness import losses_of, measure_robustness

    folder = run_folders(run)[0]
    trained = load_run(folder, options.registry())
    stored = stored_samples(trained, store, on_warning=say)
    rows = chosen_rows(stored, split, samples)
    with progress_bar() as bar:
        total = len(rows) * len(shares) * len(numbers) * len(losses_of(trained))
        task = bar.add_task("Measuring", total=total, note="")
        found = measure_robustness(
            trained,
            stored,
            rows,
            split=split,
            rates=shares,
            seeds=numbers,
            on_batch=lambda done: bar.advance(task, done),
        )
    metric = validation_metric(trained.resolved.dataset.metrics)
    written = _write(found, metric, output or folder / "robustness")
    if as_json:
        print_json(asdict(found))
    else:
        _print(found, metric, str(folder))
    for file in written:
        say(f"Wrote {file}")


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--rates {text}: numbers with commas between are expected.") from error
    if not all(0 <= rate <= 1 for rate in rates):
        raise InputError(f"--rates {text}: shares from 0 to 1 are expected.")
    return sorted(set(rates))


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"--seeds {text}: whole numbers with commas between are expected.")
    return [int(part) for part in parts]


def _write(found: Robustness, metric: Metric, place: Path) -> list[Path]:
    place.mkdir(parents=True, exist_ok=True)
    written = [place / "robustness.json"]
    written[0].write_text(to_json(asdict(found)) + "\n", encoding="utf-8")
    try:
        from msakit.reports.robustness_figure import robustness_figure

        curves = {curve.stream: (curve.mean, curve.deviation) for curve in found.curves}
        picture = robustness_figure(found.rates, curves, metric)
        written.append(place / "robustness.svg")
        written[1].write_text(picture.svg, encoding="utf-8")
    except MissingExtraError as error:
        say(f"No picture: {error}")
    return written


def _print(found: Robustness, metric: Metric, run: str) -> None:
    columns = [f"{rate:g}" for rate in found.rates]
    rows = [
        (
            curve.stream,
            *(f"{number(m)} ± {number(d)}" for m, d in zip(curve.mean, curve.deviation, strict=True)),
        )
        for curve in found.curves
    ]
    title = f"{run}, {found.split} split, {found.num_samples} samples: {metric.title} by the share without it"
    print_table(title, ("stream", *columns), rows, right=columns)
