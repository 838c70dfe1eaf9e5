"""One planned clip to one mp4 file, so that an interrupted run never leaves half a file under its name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from examples.demo_corpus.avatar import FaceModel, Renderer
from examples.demo_corpus.performance import perform
from examples.demo_corpus.plan import ClipPlan
from examples.demo_corpus.speaker import make_speaker
from examples.demo_corpus.speech import SpeechMaker

FPS = 20
SIZE_PX = 256


class ClipMaker:
    """Loads the voice and the face once and makes clips from plans."""

    def __init__(self, pyfeat_wheel: Path) -> None:
        self._speech = SpeechMaker()
        self._face = FaceModel(pyfeat_wheel)

    def make(self, plan: ClipPlan, target: Path) -> None:
        """Writes `target` (mp4: H.264 at 20 frames a second, AAC mono)."""
        rng = np.random.default_rng(plan.seed)
        speaker = make_speaker(plan.speaker)
        samples = self._speech.speak(plan.text, speaker, plan.voice_strength, rng)
        rate = self._speech.sample_rate_hz
        acted = perform(samples, rate, FPS, speaker, plan.face_strength, self._face.units, rng)
        renderer = Renderer(self._face, speaker.look, SIZE_PX)
        frames = [
            renderer.draw(*state) for state in zip(acted.units, acted.rotation_deg, acted.shift, strict=True)
        ]
        unfinished = target.with_suffix(".part")
        _write_mp4(unfinished, frames, samples, rate)
        unfinished.replace(target)


def _write_mp4(path: Path, frames: list[NDArray[np.uint8]], samples: NDArray[np.float32], rate: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream(
            "libx264", rate=FPS, options={"crf": "23", "preset": "veryfast", "threads": "1"}
        )
        video.width, video.height, video.pix_fmt = SIZE_PX, SIZE_PX, "yuv420p"
        audio = container.add_stream("aac", rate=rate, layout="mono", options={"b": "64k"})
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(video.encode())
        for start in range(0, len(samples), 1024):
            block = av.AudioFrame.from_ndarray(
                samples[None, start : start + 1024], format="fltp", layout="mono"
            )
            block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
            container.mux(audio.encode(block))
        container.mux(audio.encode())
