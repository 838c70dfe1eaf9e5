"""The transcriber `whisper`: what is said in a clip, decoded greedily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

from msakit.core.errors import InputError
from msakit.extraction.media import decode_audio

from .pretrained import best_device
from .whisper_models import RATE_HZ, WINDOW, load_whisper, suppressed_tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.interfaces import MediaClip

_MULTILINGUAL = 51865  # tokens of the smallest multilingual vocabulary; models of English have 51864
_LONGEST = 224  # tokens a window, half of what the decoder can hold
_INAUDIBLE = 1e-3  # of full scale
_SILENT, _UNSURE = 0.6, -1.0  # where Whisper takes a window for silence (Radford et al., section 4.5)
_START, _WRITE, _UNTIMED = "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")


class WhisperTranscriber:
    """Transcribes in windows of 30 s, each on its own; greedy, so the same clip gives the same words.

    A window in which the model thinks nobody speaks, and of whose words it is unsure, gives none.
    """

    name = "whisper"
    version = 1

    def __init__(self, *, model: str, revision: str | None, language: str | None) -> None:
        whisper = load_whisper(model, revision)
        folder = whisper.checkpoint.folder
        self._device = best_device()
        self._model = whisper.model.to(self._device).eval().requires_grad_(False)
        self._mels = WhisperFeatureExtractor(feature_size=whisper.num_mels)
        self._tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self._vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        self._never, self._not_first = suppressed_tokens(folder)
        self._languages = self._language_tokens()
        self._language = self._known_language(language, model)
        digest = whisper.checkpoint.weights[0][:12]
        self.engine = f"{self.name}@{self.version} {model} ({whisper.checkpoint.revision or digest})"

    def _language_tokens(self) -> dict[str, int]:
        """Language to token; empty for models of English alone, which take no such token."""
        if self._model.config.vocab_size < _MULTILINGUAL:
            return {}
        first, last = self._vocabulary[_START] + 1, self._vocabulary["<|translate|>"]
        return {name[2:-2]: at for name, at in self._vocabulary.items() if first <= at < last}

    def _known_language(self, language: str | None, model: str) -> int | None:
        if language is None or (language == "en" and not self._languages):
            return None
        if language not in self._languages:
            known = ", ".join(sorted(self._languages)) or "en"
            raise InputError(
                f"'{model}' does not know the language '{language}'.", hint=f"It knows: {known}."
            )
        return self._languages[language]

    def transcribe(self, clip: MediaClip) -> str:
        """The words spoken in a clip; "" where nothing is.

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        samples = decode_audio(clip, RATE_HZ)
        windows = (samples[at : at + WINDOW] for at in range(0, len(samples), WINDOW))
        return " ".join(filter(None, map(self._write, windows)))

    @torch.inference_mode()
    def _write(self, window: NDArray[np.float32]) -> str:
        if float(np.abs(window).max()) < _INAUDIBLE:
            return ""
        mels = self._mels(window, sampling_rate=RATE_HZ, return_tensors="pt").input_features
        states = self._model.get_encoder()(mels.to(self._device))
        prompt = self._prompt(states)
        silence = self._silence(states)
        tokens, certainty = self._decode(states, prompt)
        if silence > _SILENT and certainty < _UNSURE:
            return ""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def _prompt(self, states: Any) -> list[int]:
        """The tokens a transcript follows: start, language and task where there is a choice, no times."""
        start = [self._vocabulary[_START]]
        if self._languages:
            language = self._language or self._recognised(states, start)
            start += [language, self._vocabulary[_WRITE]]
        return [*start, self._vocabulary[_UNTIMED]]

    def _recognised(self, states: Any, start: list[int]) -> int:
        logits = self._next(states, start)[0]
        return max(self._languages.values(), key=lambda token: float(logits[token]))

    def _silence(self, states: Any) -> float:
        """How probable it is that nobody speaks."""
        token = next((t for t in map(self._vocabulary.get, _NO_SPEECH) if t is not None), None)
        if token is None:
            return 0.0
        logits, _ = self._next(states, [self._vocabulary[_START]])
        return float(logits.softmax(dim=-1)[token])

    def _decode(self, states: Any, prompt: list[int]) -> tuple[list[int], float]:
        """The likeliest tokens one by one, and the mean log probability of each."""
        tokens: list[int] = []
        end, total, cache = int(self._model.config.eos_token_id), 0.0, None
        fed = prompt
        while len(tokens) < _LONGEST:
            logits, cache = self._next(states, fed, cache)
            logits[self._never if tokens else [*self._never, *self._not_first]] = -torch.inf
            best = int(logits.argmax())
            total += float(logits.log_softmax(dim=-1)[best])
            if best == end:
                break
            tokens.append(best)
            fed = [best]
        return tokens, total / (len(tokens) + 1)

    def _next(self, states: Any, fed: list[int], cache: Any = None) -> tuple[Tensor, Any]:
        """Logits of the token after those fed, float32 [V], and what to remember for the next."""
        found = self._model(
            encoder_outputs=states,
            decoder_input_ids=torch.tensor([fed], device=self._device),
            past_key_values=cache,
            use_cache=True,
        )
        return found.logits[0, -1].float(), found.past_key_values
