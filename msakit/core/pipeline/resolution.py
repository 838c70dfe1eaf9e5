"""From names to specifications and validated settings, with every problem reported at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import ConfigError, InputError, UnknownNameError
from msakit.core.files import read_json
from msakit.core.labels import check_label_range
from msakit.core.registry.catalogue import parse_dataset
from msakit.core.registry.specs import BackboneSpec, DatasetSpec, Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msakit.core.pipeline.config import DatasetChoice, PipelineConfig
    from msakit.core.registry.registry import Choice, Registry

HUB_PREFIX = "hf:"
MAX_LABELS = 1000
MAX_SCORE = 100  # every admissible answer is scored, ten for each point


@dataclass(frozen=True, slots=True)
class ResolvedPipeline:
    """A pipeline whose every name is known and whose every setting is valid.

    Attributes:
        warnings: What is doubtful about the combination, without making it impossible.
    """

    config: PipelineConfig
    dataset: DatasetSpec
    encoders: Mapping[str, Choice]
    fuser: Choice
    injector: Choice
    backbone: Choice
    backbone_spec: BackboneSpec
    warnings: tuple[Finding, ...] = ()

    @property
    def choices(self) -> list[Choice]:
        """Every component, encoders first."""
        return [*self.encoders.values(), self.fuser, self.injector, self.backbone]

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether training leaves the backbone as it is, so that several runs may share one in memory.

        A backbone component says so with a property `frozen` of its settings.
        """
        return bool(getattr(self.backbone.settings, "frozen", False))

    def as_yaml(self) -> dict[str, Any]:
        """The complete pipeline file: full names, every setting."""
        content = self.config.model_dump(mode="json")
        content["dataset"] = _dataset_as_yaml(self.dataset)
        content["encoders"] = {name: encoder.as_yaml() for name, encoder in self.encoders.items()}
        content["fuser"] = self.fuser.as_yaml()
        content["injector"] = self.injector.as_yaml()
        content["backbone"] = {**self.backbone.as_yaml(), "name": self.backbone_spec.name}
        return content


def resolve(config: PipelineConfig, registry: Registry, *, source: str = "pipeline") -> ResolvedPipeline:
    """Look up every name of a pipeline and validate every component's settings.

    Raises:
        UnknownNameError: Only one name is wrong.
        ConfigError: Several things are wrong; or a combination cannot work.
    """
    problems: list[tuple[str, str]] = []
    failures: list[InputError] = []

    def attempt(key: str, work: Any, *arguments: Any) -> Any:
        try:
            return work(*arguments)
        except ConfigError as error:
            problems.extend((f"{key}.{name}" if name else key, text) for name, text in error.problems)
        except InputError as error:
            failures.append(error)
            problems.append((key, str(error).replace("\n", " ")))
        return None

    dataset = attempt("dataset", resolve_dataset, config.dataset, registry)
    encoders = {
        name: attempt(f"encoders.{name}", registry.choose, Kind.ENCODER, choice.name, choice.settings)
        for name, choice in config.encoders.items()
    }
    fuser = attempt("fuser", registry.choose, Kind.FUSER, config.fuser.name, config.fuser.settings)
    injector = attempt(
        "injector", registry.choose, Kind.INJECTOR, config.injector.name, config.injector.settings
    )
    backbone_spec = attempt("backbone.name", resolve_backbone, config.backbone.name, registry)
    backbone = backbone_spec and attempt(
        "backbone", registry.choose, Kind.BACKBONE, backbone_spec.target, config.backbone.settings
    )
    if len(problems) == 1 and failures:
        raise failures[0]
    if problems:
        raise ConfigError(source, problems)
    resolved = ResolvedPipeline(config, dataset, encoders, fuser, injector, backbone, backbone_spec)
    return replace(resolved, warnings=_refuse_impossible(resolved, registry, source))


def resolve_backbone(name: str, registry: Registry) -> BackboneSpec:
    """A named backbone, `hf:ORG/NAME`, or a local folder with a config.json."""
    if name.startswith(HUB_PREFIX):
        repository = name.removeprefix(HUB_PREFIX)
        return BackboneSpec(name=name, weights={"source": "hub", "repository": repository}, architecture={})
    folder = Path(name).expanduser()
    config_file = folder / "config.json"
    if config_file.exists():
        return BackboneSpec(
            name=name,
            weights={"source": "hub", "repository": str(folder.resolve())},
            architecture=read_json(config_file),
        )
    if folder.is_dir():
        msg = f"backbone '{name}': the folder has no config.json, so it is not a transformers checkpoint."
        raise InputError(msg)
    try:
        return registry.backbone(name)
    except UnknownNameError as error:
        error.hint = f"{error.hint}\nOther models: hf:ORG/NAME for one on the hub, or the path of a folder."
        raise


def resolve_dataset(choice: DatasetChoice, registry: Registry) -> DatasetSpec:
    """The dataset of that name with the pipeline's overrides; a new name must describe itself."""
    described = {"task", "language", "metrics", "prompts"} <= choice.settings.keys()
    base = {} if described else _as_dict(registry.dataset(choice.name))
    dataset = parse_dataset({**base, **choice.settings, "name": choice.name})
    if dataset.task == "regression" and dataset.label_range is None:
        raise ConfigError("dataset", [("label_range", "a regression dataset needs one, such as [-3, 3]")])
    if dataset.task == "classification" and not 2 <= len(dataset.labels) <= MAX_LABELS:
        raise ConfigError(
            "dataset",
            [("labels", f"a classification dataset needs at least two, and at most {MAX_LABELS:,}")],
        )
    if dataset.label_range is not None:
        if any(abs(score) > MAX_SCORE for score in dataset.label_range):  # NaN is refused with the answers
            raise ConfigError("dataset", [("label_range", f"scores lie within -{MAX_SCORE} and {MAX_SCORE}")])
        check_label_range(dataset.metrics, dataset.label_range)
    return dataset


def _as_dict(dataset: DatasetSpec) -> dict[str, Any]:
    content = {field.name: getattr(dataset, field.name) for field in fields(DatasetSpec)}
    return {**content, "source": asdict(dataset.source), "access": asdict(dataset.access)}


def _dataset_as_yaml(dataset: DatasetSpec) -> dict[str, Any]:
    content = _as_dict(dataset)
    del content["source"], content["access"]
    content["features"] = dict(dataset.features)
    content["prompts"] = dict(dataset.prompts)
    content["labels"] = list(dataset.labels)
    content["label_range"] = list(dataset.label_range) if dataset.label_range else None
    return content


def _refuse_impossible(resolved: ResolvedPipeline, registry: Registry, source: str) -> tuple[Finding, ...]:
    """Refuse what cannot work; gives what is only doubtful."""
    findings = [*_own_findings(resolved, registry)]
    findings += registry.manager.call("msakit_check_pipeline", pipeline=resolved.config)
    if fatal := [finding for finding in findings if finding.fatal]:
        raise ConfigError(source, [(f.key, f"{f.message} {f.remedy}".strip()) for f in fatal])
    return tuple(findings)


def _own_findings(resolved: ResolvedPipeline, registry: Registry) -> Iterator[Finding]:
    """Impossible combinations that can be detected without building anything."""
    yield from _weighting_findings(resolved)
    yield from _language_findings(resolved, registry)
    fuser = resolved.fuser.spec
    for form in ("summary", "sequence"):
        if f"needs_{form}" not in fuser.capabilities:
            continue
        fitting = [s.short for s in registry.components(Kind.ENCODER) if f"gives_{form}" in s.capabilities]
        for modality, encoder in resolved.encoders.items():
            if f"gives_{form}" not in encoder.spec.capabilities:
                yield Finding(
                    f"encoders.{modality}",
                    f"the fuser '{fuser.short}' needs a {form}, which the encoder '{encoder.spec.short}' "
                    "does not give.",
                    f"Encoders that do: {', '.join(fitting)}.",
                )
    yields = "tokens" if "gives_tokens" in fuser.capabilities else "none"
    injector = resolved.injector.spec
    if {
        "needs_tokens",
        "needs_none",
    } & injector.capabilities and f"needs_{yields}" not in injector.capabilities:
        fitting = [s.short for s in registry.components(Kind.INJECTOR) if f"needs_{yields}" in s.capabilities]
        yield Finding(
            "injector",
            f"the injector '{injector.short}' does not fit what the fuser '{fuser.short}' gives.",
            f"Injectors that do: {', '.join(fitting)}.",
        )
    for modality in resolved.encoders:
        if resolved.dataset.features and modality not in resolved.dataset.features:
            known = ", ".join(resolved.dataset.features)
            yield Finding(
                f"encoders.{modality}",
                f"the dataset '{resolved.dataset.name}' has no such modality.",
                f"It has: {known}.",
            )


def _language_findings(resolved: ResolvedPipeline, registry: Registry) -> Iterator[Finding]:
    """A backbone that does not read the language of the corpus."""
    language, known = resolved.dataset.language, resolved.backbone_spec.languages
    if not known or not language or language.partition("-")[0] in known:
        return
    fitting = [spec.name for spec in registry.backbones() if language in spec.languages]
    yield Finding(
        "backbone",
        f"'{resolved.backbone_spec.name}' reads {', '.join(known)}, and '{resolved.dataset.name}' is in "
        f"{language}.",
        f"Backbones that read it: {', '.join(fitting)}." if fitting else "Name one that reads it.",
        fatal=False,
    )


def _weighting_findings(resolved: ResolvedPipeline) -> Iterator[Finding]:
    """Class weights and focal loss are for classes, and weights for classes that there are."""
    weights, gamma = resolved.config.training.class_weights, resolved.config.training.focal_gamma
    labels = resolved.dataset.labels
    given = {"class_weights": weights is not None, "focal_gamma": gamma > 0}
    if resolved.dataset.task == "regression":
        for key in (name for name, is_given in given.items() if is_given):
            yield Finding(f"training.{key}", f"'{resolved.dataset.name}' has scores, not classes.")
    elif isinstance(weights, dict):
        for name in (name for name in weights if name not in labels):
            yield Finding(
                f"training.class_weights.{name}", "there is no such class.", f"Classes: {', '.join(labels)}."
            )
