"""Settings of the built-in extractors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ProsodyConfig(BaseModel):
    """Settings of the extractor `prosody`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame_shift_s: float = Field(
        default=0.05, ge=0.01, description="Seconds per output row; a multiple of 0.01, the analysis step."
    )
    sample_rate_hz: int = Field(default=16000, ge=8000, description="Rate the audio is resampled to.")
    num_mfcc: int = Field(default=13, ge=1, le=40, description="Mel-frequency cepstral coefficients kept.")
    pitch_floor_hz: float = Field(default=60.0, ge=40, description="Lowest pitch looked for.")
    pitch_ceiling_hz: float = Field(default=400.0, gt=0, description="Highest pitch looked for.")

    @model_validator(mode="after")
    def _check(self) -> ProsodyConfig:
        if abs(self.frame_shift_s * 100 - round(self.frame_shift_s * 100)) > 1e-6:
            msg = f"frame_shift_s {self.frame_shift_s} is not a multiple of 0.01"
            raise ValueError(msg)
        if not self.pitch_floor_hz < self.pitch_ceiling_hz < self.sample_rate_hz / 2:
            msg = "pitch_floor_hz < pitch_ceiling_hz < sample_rate_hz / 2 does not hold"
            raise ValueError(msg)
        return self


class BlendshapesConfig(BaseModel):
    """Settings of the extractor `blendshapes`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fps: float = Field(default=10.0, gt=0, le=120, description="Video frames looked at per second.")
    min_detection_confidence: float = Field(
        default=0.5, ge=0, le=1, description="How sure the detector must be that there is a face."
    )
