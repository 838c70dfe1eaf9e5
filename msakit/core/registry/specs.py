"""Specifications: how a plugin describes components, backbones and datasets.

Standard library only: reading a specification imports neither torch nor the component it describes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Literal

INTERFACE = 1
"""Version of hooks, specifications and registry files; raised when plugins have to change."""

_FULL_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")
# Read by pydantic where specifications are validated: an unknown key is an error.
_FORBID_UNKNOWN_KEYS = {"extra": "forbid"}
_COUNT = "[0-9]{1,9}"
_PATTERN_FIELD = re.compile(r"\{([a-z_]+)\}")


class Kind(StrEnum):
    """The kinds of component."""

    EXTRACTOR = "extractor"
    TRANSCRIBER = "transcriber"
    ENCODER = "encoder"
    FUSER = "fuser"
    INJECTOR = "injector"
    BACKBONE = "backbone"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a component comes from, for its users' citations."""

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    paper: str | None = None
    url: str | None = None
    code: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One component a distribution offers.

    Attributes:
        kind: What it is.
        name: Full name without version, `paper.part`.
        version: Raised whenever the component's numbers change.
        target: The class, as "module:Class"; imported only when a component is built.
        config: Its pydantic configuration, as "module:Class"; the module must not import torch.
        short: What users type; defaults to the part after the dot.
        pattern: For names with a count in them: "pseudo{tokens}" lets `pseudo6` mean `tokens: 6`.
        summary: One line for listings.
        source: Paper and code it follows.
        capabilities: What it gives or needs; see docs/plugins.
        extra: The pip extra of the distribution that installs what it imports.
        licence: Licence of the program or weights it uses; "" where it uses none of others.
    """

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    kind: Kind
    name: str
    target: str
    config: str
    version: int = 1
    short: str = ""
    pattern: str | None = None
    summary: str = ""
    source: Source = field(default_factory=Source)
    capabilities: frozenset[str] = frozenset()
    extra: str | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        """Check the name and the two import paths, and fill in the short name."""
        if not _FULL_NAME.match(self.name):
            msg = f"component name '{self.name}' is not of the form paper.part (lower case)"
            raise ValueError(msg)
        for label, path in (("target", self.target), ("config", self.config)):
            if path.count(":") != 1:
                msg = f"{self.name}: {label} '{path}' is not of the form module:Class"
                raise ValueError(msg)
        fields = _PATTERN_FIELD.findall(self.pattern or "")
        if len(fields) != len(set(fields)) or "}{" in (self.pattern or ""):
            msg = f"{self.name}: pattern '{self.pattern}' needs different fields with text between them"
            raise ValueError(msg)
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "capabilities", frozenset(self.capabilities))
        object.__setattr__(self, "short", self.short or self.name.partition(".")[2])

    @property
    def full_name(self) -> str:
        """`paper.part@version`, what saved pipelines record."""
        return f"{self.name}@{self.version}"

    def match(self, name: str) -> dict[str, int] | None:
        """The settings a user's name stands for, or None where it names something else.

        `pseudo6` against the pattern "pseudo{tokens}" gives {"tokens": 6}, and so do the full names
        `mse_adapter.pseudo6` and `mse_adapter.pseudo6@2`; a plain name gives {}.
        """
        paper, _, part = self.name.partition(".")
        local = name
        if name.startswith(f"{paper}."):
            local = name.removeprefix(f"{paper}.").removesuffix(f"@{self.version}")
            if local == part:
                return {}
        if local == self.short:
            return {}
        if self.pattern is None:
            return None
        pieces = _PATTERN_FIELD.split(self.pattern)  # literal, field, literal, ...
        expression = "".join(
            rf"(?P<{piece}>[0-9]{{1,9}})" if index % 2 else re.escape(piece)
            for index, piece in enumerate(pieces)
        )
        found = re.fullmatch(expression, local)
        return {key: int(count) for key, count in found.groupdict().items()} if found else None


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A pretrained language model that can be named.

    Attributes:
        name: What users type (`qwen-1.8b`).
        target: The backbone component that runs it ("backbones.causal_lm").
        weights: Where its weights come from: hub repository, revision, package, ...
        architecture: What its config.json says, so that a pipeline can be sized with no weights.
        prompt: Start tokens and other things the prompt depends on.
        licence: Licence of the weights.
        languages: ISO 639-1 codes it was trained for.
    """

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    name: str
    weights: Mapping[str, Any]
    architecture: Mapping[str, Any]
    target: str = "backbones.causal_lm"
    prompt: Mapping[str, Any] = field(default_factory=lambda: _freeze({}))
    licence: str = ""
    languages: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How to come by a corpus, and what one may do with it.

    Attributes:
        licence: What its publishers allow.
        homepage: Where it is published.
        files: Names of the files to have.
        obtain: How to get them.
        command: The command that puts them into a feature store.
    """

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    licence: str = ""
    homepage: str = ""
    files: tuple[str, ...] = ()
    obtain: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A corpus: its task, its labels, its prompts and the widths of its published features.

    Attributes:
        name: What users type (`mosei`).
        task: "regression" or "classification".
        language: ISO 639-1 code; chooses the prompt.
        metrics: Which metric family reports it: "mosei", "sims" or "erc".
        labels: Class names in index order (classification).
        label_range: Lowest and highest score (regression).
        features: Modality to feature width.
        prompts: Prompt wording; a backbone's name may override the default.
        summary: One line for listings.
        caution: What anybody who reads a prediction of a model trained on it has to know.
        source: Paper or page.
        access: Licence, files, and how to get and import them.
    """

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    name: str
    task: Literal["regression", "classification"]
    language: str
    metrics: Literal["mosei", "sims", "erc"]
    labels: tuple[str, ...] = ()
    label_range: tuple[float, float] | None = None
    features: Mapping[str, int] = field(default_factory=lambda: _freeze({}))
    prompts: Mapping[str, Any] = field(default_factory=lambda: _freeze({}))
    summary: str = ""
    caution: str = ""
    source: Source = field(default_factory=Source)
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True)
class Finding:
    """One static complaint about a pipeline.

    Attributes:
        key: The dotted key it is about ("fuser").
        message: What is wrong.
        remedy: What would fit.
        fatal: Whether building must be refused; else it is a warning.
    """

    key: str
    message: str
    remedy: str = ""
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class RecipeSpec:
    """A paper's system on one dataset and one backbone, with its published settings.

    Attributes:
        name: What users type (`mse-adapter`).
        pipeline: The settings, as a pipeline file has them.
        source: Where the settings are published.
        note: What is published and what is our reading.
    """

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    name: str
    dataset: str
    backbone: str
    pipeline: Mapping[str, Any]
    source: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A result somebody published, for comparison.

    Attributes:
        system: The recipe or method it is about.
        metrics: Metric name to value, in msakit's units (shares, not percent).
        source: Where it is published.
        confidence: How sure we are of the number and of what it measures.
    """

    __pydantic_config__: ClassVar = _FORBID_UNKNOWN_KEYS

    system: str
    dataset: str
    metrics: Mapping[str, float]
    source: str
    confidence: str
    backbone: str = ""
    note: str = ""
