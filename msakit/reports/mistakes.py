"""The samples to look at first: the largest errors, or the surest of the wrong answers, seen and heard."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msakit.core.errors import MediaError, MissingExtraError
from msakit.core.interfaces import MediaClip
from msakit.feature_store import FeatureStore
from msakit.feature_store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from msakit.metrics.scores import Floats
    from msakit.runs.predictions import Predictions
    from msakit.runs.results import RunResult

NUM_SHOWN = 12
SAMPLE_RATE_HZ = 16_000
FRAME_WIDTH = 320
MEDIA_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".wav", ".mp3", ".flac")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One sample a run is wrong about.

    Attributes:
        id: The sample.
        label: What it is.
        prediction: What the run says; "(none)" where it says nothing.
        likeliest: The most probable answers with their probabilities.
        text: What is said; "" where it is not known.
        absent: Streams the sample lacks.
        frame: A frame as a data URI; "" where there is none.
        sound: Its sound as a data URI; "" where there is none.
    """

    id: str
    label: str
    prediction: str
    likeliest: tuple[tuple[str, float], ...] = ()
    text: str = ""
    absent: tuple[str, ...] = ()
    frame: str = ""
    sound: str = ""


def find_mistakes(run: RunResult, found: Predictions, media: Path | None = None) -> list[Mistake]:
    """The worst of a run's predictions.

    Args:
        run: The run, whose store is asked for the texts if it is still where it was.
        found: Predictions of one of its splits.
        media: Folder with a media file `<id>.mp4` (or another format) for each sample.
    """
    names = found.label_names
    errors = np.where(np.isnan(found.values), np.inf, np.abs(found.values - found.labels))
    order = np.argsort(-(_certainty(found, errors) if names else errors), kind="stable")
    worst = found.reordered([int(index) for index in order[:NUM_SHOWN] if errors[index] > 0])
    texts = stored_texts(run)
    return [
        Mistake(
            id=row.id,
            label=names[int(label)] if names else f"{label:+.2f}",
            prediction="(none)" if row.prediction is None else _shown(row.prediction),
            likeliest=tuple(row.likeliest),
            text=texts.get(row.id, row.generated or ""),
            absent=tuple(row.absent),
            **seen_and_heard(row.id, media),
        )
        for row, label in zip(worst.rows(), worst.labels.tolist(), strict=True)
    ]


def _shown(prediction: float | str) -> str:
    return prediction if isinstance(prediction, str) else f"{prediction:+.2f}"


def _certainty(found: Predictions, errors: Floats) -> Floats:
    """How sure the run is of each wrong answer [N]; below all of them where it is right."""
    sure = np.ones(len(found)) if found.probabilities is None else found.probabilities.max(axis=1)
    return np.where(errors > 0, sure, -1.0)


def stored_texts(run: RunResult) -> dict[str, str]:
    """Sample id to text, from the store the run was trained on; nothing where it is gone."""
    store = run.provenance.get("data", {}).get("store")
    try:
        table = FeatureStore.open(Path(store)).table(run.record.dataset) if store else None
    except (StoreError, OSError, TypeError):
        return {}
    return dict(zip(table.id, table.text, strict=True)) if table else {}


def seen_and_heard(sample: str, media: Path | None) -> dict[str, str]:
    """A frame from the middle of a sample's media file and its sound, as data URIs."""
    files = [media / f"{sample}{suffix}" for suffix in MEDIA_SUFFIXES] if media else []
    file = next((file for file in files if file.is_file()), None)
    if file is None or "/" in sample:
        return {}
    clip = MediaClip(file, sample, "")
    return {"frame": _try(_frame, clip), "sound": _try(_sound, clip)}


def _try(make: Callable[[MediaClip], str], clip: MediaClip) -> str:
    """A rendering of a clip; "" if it has no such stream or cannot be decoded."""
    try:
        return make(clip)
    except (MediaError, MissingExtraError):
        return ""


def _frame(clip: MediaClip) -> str:
    from PIL import Image

    from msakit.extraction.media import decode_frames

    frames = list(decode_frames(clip, fps=2.0))
    image = Image.fromarray(frames[len(frames) // 2])
    image.thumbnail((FRAME_WIDTH, FRAME_WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _sound(clip: MediaClip) -> str:
    from msakit.extraction.media import decode_audio

    samples = np.clip(decode_audio(clip, SAMPLE_RATE_HZ), -1, 1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
