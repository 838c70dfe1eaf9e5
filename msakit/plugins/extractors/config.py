"""Settings of the built-in extractors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from msakit.core.settings import Settings


class ProsodyConfig(Settings):
    """Settings of the extractor `prosody`."""

    frame_shift_s: float = Field(
        default=0.05, ge=0.01, description="Seconds per output row; a multiple of 0.01, the analysis step."
    )
    sample_rate_hz: int = Field(default=16000, ge=8000, description="Rate the audio is resampled to.")
    num_mfcc: int = Field(default=13, ge=1, le=40, description="Mel-frequency cepstral coefficients kept.")
    pitch_floor_hz: float = Field(default=60.0, ge=40, description="Lowest pitch looked for.")
    pitch_ceiling_hz: float = Field(default=400.0, gt=0, description="Highest pitch looked for.")

    @model_validator(mode="after")
    def _check(self) -> ProsodyConfig:
        check_multiple(self.frame_shift_s, 0.01)
        if not self.pitch_floor_hz < self.pitch_ceiling_hz < self.sample_rate_hz / 2:
            msg = "pitch_floor_hz < pitch_ceiling_hz < sample_rate_hz / 2 does not hold"
            raise ValueError(msg)
        return self


class BlendshapesConfig(Settings):
    """Settings of the extractor `blendshapes`."""

    fps: float = Field(default=10.0, gt=0, le=120, description="Video frames looked at per second.")
    min_detection_confidence: float = Field(
        default=0.5, ge=0, le=1, description="How sure the detector must be that there is a face."
    )


class _WhisperModel(Settings):
    """The model that the extractor and the transcriber `whisper` listen with."""

    model: str = Field(
        default="tiny.en",
        description="tiny.en (English) or base, which packages carry; a model of the hub "
        "(openai/whisper-small); or a folder.",
    )
    revision: str | None = Field(
        default=None, description="Commit of a hub model; by default the newest, which is then recorded."
    )


class WhisperConfig(_WhisperModel):
    """Settings of the extractor `whisper`."""

    layer: int | Literal["mean"] = Field(
        default=-1, description="0 is the embeddings, -1 the last layer; `mean` averages all."
    )
    frame_shift_s: float = Field(
        default=0.02, ge=0.02, description="Seconds per output row; a multiple of 0.02, the model's step."
    )

    @model_validator(mode="after")
    def _check(self) -> WhisperConfig:
        check_multiple(self.frame_shift_s, 0.02)
        return self


class WhisperTranscriberConfig(_WhisperModel):
    """Settings of the transcriber `whisper`."""

    language: str | None = Field(
        default=None, description="Spoken language (zh); by default each window's is recognised."
    )


class EgemapsConfig(Settings):
    """Settings of the extractor `egemaps`."""

    level: Literal["lld", "functionals"] = Field(
        default="lld", description="25 descriptors over time, or 88 statistics of the whole clip."
    )
    frame_shift_s: float = Field(
        default=0.05,
        ge=0.01,
        description="lld: seconds per output row; a multiple of 0.01, its step.",
    )

    @model_validator(mode="after")
    def _check(self) -> EgemapsConfig:
        check_multiple(self.frame_shift_s, 0.01)
        return self


def check_multiple(shift_s: float, step_s: float) -> None:
    """Refuse a row length that is no whole number of analysis steps.

    Raises:
        ValueError: It is none.
    """
    if abs(shift_s / step_s - round(shift_s / step_s)) > 1e-6:
        msg = f"frame_shift_s {shift_s} is not a multiple of {step_s}"
        raise ValueError(msg)


class HfAudioConfig(Settings):
    """Settings of the extractor `hf-audio`."""

    model: str = Field(description="A model of the hub, such as facebook/hubert-base-ls960, or a folder.")
    revision: str | None = Field(
        default=None, description="Commit of a hub model; by default the newest, which is then recorded."
    )
    layer: int | Literal["mean"] = Field(
        default=-1, description="0 is the embeddings, -1 the last layer; `mean` averages all."
    )
    frame_shift_s: float | None = Field(
        default=None, gt=0, description="Seconds per output row, a multiple of the model's step; its step."
    )


class HfVisionConfig(Settings):
    """Settings of the extractor `hf-vision`."""

    model: str = Field(description="A model of the hub, such as openai/clip-vit-base-patch32, or a folder.")
    revision: str | None = Field(
        default=None, description="Commit of a hub model; by default the newest, which is then recorded."
    )
    fps: float = Field(default=5.0, gt=0, le=120, description="Video frames looked at per second.")
    region: Literal["face", "frame"] = Field(default="face", description="The face, or the whole frame.")
    pooling: Literal["pooler", "cls", "mean"] = Field(
        default="cls", description="The model's own summary, its first token, or the mean of all tokens."
    )
    face_margin: float = Field(
        default=0.3, ge=0, le=2, description="Room on each side of the face, as a share of its size."
    )
