"""The page of a study: all systems and seeds side by side, with intervals, and a look at the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msakit.metrics import Metric, validation_metric
from msakit.reports.alignment import common_split
from msakit.reports.comparison import Comparison, Question, compare_groups
from msakit.reports.mistakes import find_mistakes
from msakit.reports.page import Page, Section, Table
from msakit.reports.run_page import fusion_figures, mistakes_title, prediction_figures
from msakit.reports.study_figures import system_bars, validation_curves
from msakit.reports.tables import main_table, notes, show_estimate, tested_table, to_latex, to_markdown
from msakit.runs.results import RunGroup, find_runs, read_run

NUM_RESAMPLES = 1000


def study_page(path: Path, split: str | None, media: Path | None = None) -> Page:
    """The page of a study, or of one system over several seeds.

    Args:
        path: The folder of the study, or of the seeds.
        split: Whose predictions are compared; None takes "test" where all runs have it.
        media: Folder with a media file for each sample.

    Raises:
        InputError: The runs cannot be compared.
    """
    groups = study_groups(path)
    split = split or common_split(groups)
    metric = validation_metric(groups[0].runs[0].record.family)
    groups = best_first(groups, split, metric)
    found = compare_groups(groups, Question(split=split, num_resamples=NUM_RESAMPLES))
    best, name = groups[0].runs[0], found.rows[0].name
    predictions = best.predictions(split)
    mistakes = find_mistakes(best, predictions, media)
    seeds = sorted({run.record.seed for group in groups for run in group.runs if run.record.seed is not None})
    estimate = found.rows[0].estimates[metric.name]
    whose = f"{name}, {best.name}" if best.path != groups[0].path else name
    return Page(
        title=path.resolve().name,
        subtitle=f"{found.dataset}, {split} split, {found.num_samples} samples",
        tiles=[
            (f"best {metric.title}", show_estimate(metric, estimate), name),
            ("systems", str(len(groups)), ", ".join(row.name for row in found.rows if row.kind == "run")),
            ("seeds", str(len(seeds)), ", ".join(map(str, seeds))),
        ],
        warnings=_warnings(groups, found),
        sections=[
            Section("Systems", _tables(found), [system_bars(found, metric)]),
            Section("Training", figures=validation_curves(groups, [row.name for row in found.rows], metric)),
            Section(f"Predictions of {whose}", figures=prediction_figures(best, predictions)),
            Section(f"{mistakes_title(predictions)} of {whose}", mistakes=mistakes),
            *(
                Section(
                    f"Inside the fusion of {row.name}",
                    figures=fusion_figures(group.runs[0], group.runs[0].predictions(split), split),
                )
                for group, row in zip(groups, found.rows, strict=False)
            ),
        ],
        details=[("LaTeX", to_latex(found)), ("Markdown", to_markdown(found))],
    )


def study_groups(path: Path) -> list[RunGroup]:
    """Every system of a study with its finished seeds, in the order of their paths."""
    folders: dict[Path, list[Path]] = {}
    for folder in find_runs(path):
        system = folder.parent if folder.name.startswith("seed-") else folder
        folders.setdefault(system, []).append(folder)
    return [
        RunGroup(system.resolve().name, system, tuple(read_run(folder) for folder in runs))
        for system, runs in folders.items()
    ]


def best_first(groups: Sequence[RunGroup], split: str, metric: Metric) -> list[RunGroup]:
    """Groups by their mean metric over seeds, the best one first."""

    def mean(group: RunGroup) -> float:
        values = [run.metrics(split)[metric.name] for run in group.runs]
        return sum(values) / len(values)

    return sorted(groups, key=mean, reverse=metric.higher_is_better is not False)


def _tables(found: Comparison) -> list[Table]:
    header, rows = main_table(
        found, lambda metric, row: show_estimate(metric, row.estimates.get(metric.name))
    )
    tables = [Table(header, rows)]
    tables += [Table(*tested_table(found, metric)) for metric in found.tested]
    return [*tables[:-1], Table(tables[-1].header, tables[-1].rows, " ".join(notes(found)))]


def _warnings(groups: Sequence[RunGroup], found: Comparison) -> list[str]:
    """Warnings of the runs, once for each system."""
    return [
        f"{row.name}: {warning}"
        for group, row in zip(groups, found.rows, strict=False)
        for warning in dict.fromkeys(one for run in group.runs for one in run.record.warnings)
    ]
