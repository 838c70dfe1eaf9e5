"""The model card of a shared run: what the run knows of itself, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData

from msakit.core.errors import UnknownNameError
from msakit.core.files import read_yaml
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import HUB_PREFIX, resolve
from msakit.core.registry.specs import Access, Kind
from msakit.reports.comparison import Comparison, Question, compare_groups
from msakit.reports.run_page import default_split
from msakit.reports.tables import main_table, markdown_table, notes, show_estimate, show_interval
from msakit.runs.checkpoint import LORA_FOLDER, WEIGHTS
from msakit.runs.results import RunGroup, RunResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from msakit.core.pipeline.resolution import ResolvedPipeline
    from msakit.core.registry.registry import Registry
    from msakit.runs.folder import Run

NUM_RESAMPLES = 1000
_TASKS = {"regression": "multimodal sentiment analysis", "classification": "multimodal emotion recognition"}
_UNKNOWN_LICENCE = "not recorded; ask its publisher"


def model_card(
    run: RunResult,
    shared: Run,
    registry: Registry,
    *,
    repository: str = "",
    beside: Sequence[RunGroup] = (),
) -> str:
    """A README.md in Markdown with the hub's front matter.

    Args:
        run: The run with its predictions, for metrics and their intervals.
        shared: What others get of it: pipeline and feature recipe.
        registry: Where summaries and licences are looked up.
        repository: ORG/NAME it is loaded by; "" where that is not known.
        beside: Other systems, evaluated on the same samples.

    Raises:
        InputError: The run has no predictions to measure.
        DataError: The other systems were evaluated on other samples.
    """
    source = str(shared.pipeline_file)
    resolved = resolve(parse_pipeline(read_yaml(shared.pipeline_file), source), registry, source=source)
    features = shared.read_json("features.json")
    mine = RunGroup(run.name, run.path, (run,))
    others = [group for group in beside if group.path.resolve() != run.path.resolve()]
    metrics = [metric.name for metric in Question().shown(run.record.family)]
    question = Question(default_split(run), metrics, num_resamples=NUM_RESAMPLES)
    found = compare_groups([mine, *others], question)
    name = repository or "FOLDER"
    lines = [f"# {_title(resolved)}", *_introduction(resolved, run)]
    lines += ["## Use", *_usage(resolved, shared, features, name)]
    lines += ["## Results", *_results(found)]
    lines += ["## Data and features", *_data(resolved, run, registry, features)]
    lines += ["## Licences", _licences(resolved, registry, features)]
    lines += ["## Made with", _requirements(run), "## Limits", *_limits(resolved, run, found)]
    return f"---\n{_front_matter(resolved, found, repository)}\n---\n\n" + "\n\n".join(lines) + "\n"


def _title(resolved: ResolvedPipeline) -> str:
    backbone = resolved.backbone_spec.name.removeprefix(HUB_PREFIX)
    return f"{resolved.fuser.spec.short} on {backbone}, trained on {resolved.dataset.name}"


def _front_matter(resolved: ResolvedPipeline, found: Comparison, repository: str) -> str:
    values = {metric: found.rows[0].estimates[metric.name].mean for metric in found.metrics}
    task = _TASKS[resolved.dataset.task]
    results = [
        EvalResult(
            task_type="other",
            task_name=task,
            dataset_type=found.dataset,
            dataset_name=found.dataset,
            dataset_split=found.split,
            metric_type=metric.name,
            metric_name=metric.title,
            metric_value=value,
        )
        for metric, value in values.items()
        if value == value  # undefined ones are NaN
    ]
    return str(
        ModelCardData(
            library_name="msakit",
            language=resolved.dataset.language,
            base_model=_hub_name(resolved),
            tags=["msakit", task.replace(" ", "-"), *sorted(resolved.encoders)],
            model_name=repository.rpartition("/")[2] or _title(resolved),
            eval_results=results or None,
        ).to_yaml()
    )


def _hub_name(resolved: ResolvedPipeline) -> str | None:
    repository = resolved.backbone_spec.weights.get("repository")
    return str(repository) if repository else None


def _introduction(resolved: ResolvedPipeline, run: RunResult) -> list[str]:
    dataset = resolved.dataset
    streams = [*(["text"] if resolved.config.prompt.text else []), *resolved.encoders]
    if dataset.label_range:
        answer = "a score from {:g} to {:g}".format(*dataset.label_range)
    else:
        answer = f"one of the classes {', '.join(dataset.labels)}"
    adapted = "kept frozen" if resolved.backbone_is_frozen else "tuned with LoRA"
    size = ""
    if count := run.record.parameters:
        size = f" {count.trainable:,} of {count.total:,} parameters were trained."
    text = (
        f"An adapter for {_TASKS[dataset.task]} made with msakit: it reads {', '.join(streams)} and answers "
        f"with {answer}. The language model, `{resolved.backbone_spec.name}`, is {adapted}.{size}"
    )
    return [text, *([f"> {dataset.caution}"] if dataset.caution else [])]


def _usage(resolved: ResolvedPipeline, shared: Run, features: Mapping[str, Any], name: str) -> list[str]:
    said = "what is said in it"
    command, lines = f'msakit predict {name} clip.mp4 --text "{said}"', []
    if imported := [key for key, recipe in features.items() if not _is_extracted(recipe)]:
        command = f"msakit predict {name} --store STORE --dataset {resolved.dataset.name}"
        lines.append(
            f"Its {' and '.join(imported)} features were imported: it answers for stored samples with the "
            "same features, or for a text alone, not for media files."
        )
    else:
        lines.append(
            f'```python\nimport msakit\n\nmsakit.load("{name}").predict("clip.mp4", text="{said}")\n```'
        )
    lines.append("Nothing in these files is executed: tensors are safetensors, the rest is YAML and JSON.")
    if (shared.adapter_folder / LORA_FOLDER).is_dir() and not resolved.backbone_spec.weights.get("format"):
        lines.append(f"The LoRA weights load with peft alone:\n\n{_with_peft(resolved, name)}")
    return [f"```console\n$ {command}\n```", *lines]


def _with_peft(resolved: ResolvedPipeline, name: str) -> str:
    backbone = _hub_name(resolved) or resolved.backbone_spec.name
    code = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f'model = AutoModelForCausalLM.from_pretrained("{backbone}")',
        f'model = PeftModel.from_pretrained(model, "{name}", subfolder="{WEIGHTS}/{LORA_FOLDER}")',
    ]
    return "\n".join(["```python", *code, "```"])


def _is_extracted(recipe: Mapping[str, Any]) -> bool:
    return "libraries" in recipe.get("parameters", {})


def _results(found: Comparison) -> list[str]:
    """Each metric with its interval and the constant answers; then other systems, where there are any."""
    mine, *rows = found.rows
    constants = [row for row in rows if row.kind == "baseline"]
    table = [
        [
            metric.title,
            metric.show(mine.estimates[metric.name].mean),
            show_interval(metric, mine.intervals[metric.name]),
            *(show_estimate(metric, row.estimates.get(metric.name)) for row in constants),
        ]
        for metric in found.metrics
    ]
    constant_names = [f"always the {row.name}" for row in constants]
    lines = [markdown_table(["", "this run", "95 % interval", *constant_names], table)]
    if any(row.kind == "run" for row in rows):
        header, systems = main_table(
            found, lambda metric, row: show_estimate(metric, row.estimates.get(metric.name))
        )
        systems[0][0] = "this run"
        runs = [line for line, row in zip(systems, found.rows, strict=True) if row.kind == "run"]
        lines += ["Beside other systems on the same samples:", markdown_table(header, runs)]
        return [*lines, " ".join(notes(found))]
    drawn = f"{found.num_clusters} {found.cluster}s" if found.cluster else "samples"
    measured = f"{found.num_samples} {found.split} samples; intervals by a bootstrap over {drawn}."
    return [*lines, f"{measured} {found.remark}".rstrip()]


def _data(
    resolved: ResolvedPipeline, run: RunResult, registry: Registry, features: Mapping[str, Any]
) -> list[str]:
    dataset, splits = resolved.dataset, run.provenance.get("data", {}).get("splits", {})
    homepage = _access(resolved, registry).homepage
    facts = [("corpus", f"{dataset.name}. {dataset.summary}".rstrip()), ("language", dataset.language)]
    facts += [("published at", homepage)] if homepage.startswith("http") else []
    if splits:
        facts.append(("samples", ", ".join(f"{count:,} {split}" for split, count in splits.items())))
    facts += [(f"{modality} features", _recipe(recipe)) for modality, recipe in features.items()]
    return [_facts(facts), "`features.json` has every setting; features made otherwise are refused."]


def _recipe(recipe: Mapping[str, Any]) -> str:
    """How features were made, in one line."""
    if not _is_extracted(recipe):
        return f"imported: {recipe.get('extractor')}, {recipe.get('width')} numbers a frame"
    shift = recipe.get("frame_shift_s")
    settings = [
        f"{key} {value}"
        for key, value in recipe["parameters"].items()
        if key != "libraries" and isinstance(value, str | int | float)
    ]
    digests = [f"weights SHA-256 {str(digest)[:12]}…" for digest in recipe.get("weights", [])]
    every = f"every {shift:g} s" if shift else "one row a clip"
    return ", ".join([f"`{recipe['extractor']}`", f"{recipe['width']} numbers {every}", *settings, *digests])


def _access(resolved: ResolvedPipeline, registry: Registry) -> Access:
    try:
        return registry.dataset(resolved.dataset.name).access
    except UnknownNameError:
        return Access()


def _licences(resolved: ResolvedPipeline, registry: Registry, features: Mapping[str, Any]) -> str:
    backbone = resolved.backbone_spec
    facts = [
        (f"backbone {backbone.name}", backbone.licence or _UNKNOWN_LICENCE),
        (f"corpus {resolved.dataset.name}", _access(resolved, registry).licence or _UNKNOWN_LICENCE),
    ]
    for recipe in features.values():
        name = str(recipe.get("extractor"))
        try:
            licence = registry.component(Kind.EXTRACTOR, name).licence
        except UnknownNameError:
            licence = ""
        facts.append((f"features by {name}", licence or _UNKNOWN_LICENCE))
    return _facts(dict.fromkeys(facts))


def _requirements(run: RunResult) -> str:
    versions, plugins = run.provenance.get("versions", {}), run.provenance.get("plugins", {})
    by_package: dict[str, list[str]] = {}
    for component, package in plugins.items():
        by_package.setdefault(str(package), []).append(f"`{component}`")
    facts = [(f"{package} (required)", ", ".join(parts)) for package, parts in by_package.items()]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return _facts([*facts, ("trained with", libraries)])


def _limits(resolved: ResolvedPipeline, run: RunResult, found: Comparison) -> list[str]:
    sizes = f"{found.num_samples} {found.split} samples of {found.dataset}"
    limits = [
        f"Measured on {sizes}; of other recordings, people, topics or languages it says nothing.",
        f"One training, with seed {run.record.seed}: another seed gives other numbers.",
        f"It was trained on text in the language `{resolved.dataset.language}`.",
        "It tells how annotators of such a corpus would label a clip, not what anybody feels.",
        *run.record.warnings,
    ]
    return ["\n".join(f"- {limit}" for limit in limits)]


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    cells = [[name, value.replace("|", "\\|").replace("\n", " ")] for name, value in facts]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells)])
