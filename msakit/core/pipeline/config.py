"""The pipeline file: what it may say, and what it says by default.

A component is written as its name (`fuser: tgm`) or as a mapping with settings
(`fuser: {name: tgm, width: 128}`). Component settings are checked later, against the component's
own configuration class, when names are resolved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from msakit.core.errors import ConfigError
from msakit.core.files import problems_of, read_yaml
from msakit.core.pipeline.overrides import override
from msakit.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class _Named(BaseModel):
    """A name with settings; a bare string is a name without any."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _accept_a_bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class ComponentChoice(_Named):
    """An encoder, a fuser, an injector or a backbone."""


class DatasetChoice(_Named):
    """A dataset; any field of its description may be overridden (`label_range`, `labels`, ...)."""


class PromptConfig(Settings):
    """How a sample is put to the language model."""

    layout: Literal["paper", "late"] = Field(
        "paper",
        description="paper: pseudo tokens before the text, as published. late: after text and task prompt, "
        "so that everything before them is computed once and reused",
    )
    text: bool = Field(True, description="whether the utterance's text is in the prompt and in the fusion")
    text_states: Literal["embeddings", "contextual", "answer"] = Field(
        "embeddings",
        description="what the fuser sees of the text: word embeddings, as published; the plain backbone's "
        "last hidden states; or its one state where it is about to answer",
    )
    text_states_scaling: Literal["standard", "none"] = Field(
        "standard",
        description="standard: what the fuser sees of the text has zero mean and unit variance per "
        "dimension, measured on the training split. none: as the backbone gives it, as published",
    )
    max_text_tokens: int = Field(128, gt=0, description="longer texts are cut on the right, and counted")
    context: int = Field(0, ge=0, description="previous utterances of the same dialogue to include")
    task: str | None = Field(None, description="task prompt, instead of the dataset's")


class AnswerConfig(Settings):
    """How answers are written and read."""

    readout: Literal["tokens", "head"] = Field(
        "tokens",
        description="tokens: the answer is text, as published. head: one linear layer on the backbone's last "
        "hidden state gives the score, or a softmax over the classes",
    )
    head_loss: Literal["huber", "l1"] = Field(
        "huber", description="regression by a head: huber is quadratic within a sixth of the label range"
    )
    decode: Literal["score", "generate"] = Field(
        "score",
        description="score: exact probabilities of all admissible answers. generate: greedy text, "
        "as published",
    )
    reduction: Literal["median", "mean", "mode"] = Field(
        "median", description="regression only: which point of the answer distribution is the prediction"
    )
    style: Literal["index", "name"] = Field("index", description="classification: class index or class name")
    continuation: Literal["natural", "bare"] = Field(
        "natural",
        description="natural: an answer's tokens are those that follow the prompt in running text, with a "
        "space before them where the language writes one. bare: the answer tokenised alone, as published",
    )
    sign: Literal["plus", "plain"] | None = Field(
        None, description="regression: +1.2 or 1.2; default: as the papers do with the backbone"
    )

    @model_validator(mode="after")
    def _a_head_writes_nothing(self) -> AnswerConfig:
        if self.readout == "head" and self.decode == "generate":
            msg = "decode: generate needs readout: tokens; a head gives the answer without any text"
            raise ValueError(msg)
        return self


class FeatureConfig(Settings):
    """Preprocessing of stored features before the encoders."""

    normalise: Literal["standard", "none"] = Field(
        "standard",
        description="standard: zero mean and unit variance per dimension, measured on the training split",
    )
    absent: Literal["none", "learned"] = Field(
        "none",
        description="a modality a sample lacks. none: it adds nothing, as published. learned: one learned "
        "vector stands for it, so that 'unknown' differs from silence",
    )
    nonfinite: Literal["error", "zero"] = Field("error", description="what to do about NaN and infinity")
    max_frames: int | None = Field(None, gt=0, description="keep at most this many frames from the start")


class TrainingConfig(Settings):
    """Optimisation. The schedule is a cosine with linear warm-up, at zero from its horizon on."""

    epochs: int = Field(20, gt=0, description="at most; early stopping may end sooner")
    batch_size: int = Field(16, gt=0, description="samples computed at once, on each process")
    gradient_accumulation: int = Field(
        1, gt=0, description="batches whose gradients make one optimiser step; as one batch of them all"
    )
    max_batch_tokens: int | None = Field(
        None,
        gt=0,
        description="a batch with more prompt tokens, padding included, is computed in parts; the step is "
        "the same",
    )
    evaluation_batch_size: int = Field(32, gt=0)
    learning_rate: float = Field(5e-4, gt=0)
    lora_learning_rate: float | None = Field(
        None, gt=0, description="for LoRA weights; default: learning_rate"
    )
    weight_decay: float = Field(0.01, ge=0)
    epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon; the papers use 1e-4")
    horizon_epochs: int | None = Field(None, gt=0, description="where the cosine ends; default: epochs")
    warmup_share: float = Field(0.1, ge=0, le=1, description="share of the horizon spent warming up")
    gradient_clip: float | None = Field(1.0, gt=0)
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        None,
        description="classification: what a class counts in the loss. balanced: every class the same; or "
        "class names and numbers, 1 for a class left out",
    )
    focal_gamma: float = Field(
        0.0, ge=0, description="classification: focal loss, which counts what is answered well already less"
    )
    patience: int = Field(8, gt=0, description="epochs without a better validation metric before stopping")
    warm_start_epochs: int = Field(
        0,
        ge=0,
        description="epochs in which the adapter first learns the labels with a small head of its own, "
        "without the language model; they cost seconds",
    )
    modality_dropout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of training samples that lose some or all of their modalities (never the text)",
    )
    max_minutes: float | None = Field(
        None, gt=0, description="stop after the epoch in which this many minutes have passed"
    )
    checkpoint_minutes: float = Field(
        10.0, gt=0, description="most minutes between checkpoints, within an epoch"
    )
    checkpoint_steps: int | None = Field(None, gt=0, description="steps between checkpoints, in addition")
    seed: int = Field(1111, ge=0, lt=2**32)


class PipelineConfig(Settings):
    """A whole pipeline, as pipeline.yaml states it."""

    dataset: DatasetChoice
    encoders: dict[str, ComponentChoice] = Field(default_factory=dict, description="modality to encoder")
    fuser: ComponentChoice
    injector: ComponentChoice
    backbone: ComponentChoice
    prompt: PromptConfig = PromptConfig()
    answers: AnswerConfig = AnswerConfig()
    features: FeatureConfig = FeatureConfig()
    training: TrainingConfig = TrainingConfig()


def parse_pipeline(content: Mapping[str, Any], source: str) -> PipelineConfig:
    """Validate the content of a pipeline file.

    Raises:
        ConfigError: Lists every problem with its dotted key.
    """
    try:
        return PipelineConfig.model_validate(content)
    except ValidationError as error:
        hint = "docs/pipelines.md lists every key; `msakit build` writes a complete file."
        raise ConfigError(source, problems_of(error), hint=hint) from error


def read_pipeline(path: Path, overrides: Iterable[tuple[str, Any]] = ()) -> PipelineConfig:
    """Read a pipeline file and apply `--set` overrides to it."""
    content = read_yaml(path)
    return parse_pipeline(override(content, overrides), str(path))
