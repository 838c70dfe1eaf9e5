"""Whisper models by name: of a package, of the hub, or of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import AutoConfig, WhisperForConditionalGeneration

from msakit.core.errors import InputError
from msakit.core.files import read_json

from .pretrained import Checkpoint, find_checkpoint, load_whole
from .whisper_packages import PACKAGES, load_packaged

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 16000
WINDOW_S = 30
WINDOW = RATE_HZ * WINDOW_S


@dataclass(frozen=True, slots=True)
class Whisper:
    """A model in float32 and where it came from."""

    model: WhisperForConditionalGeneration
    checkpoint: Checkpoint

    @property
    def num_mels(self) -> int:
        """Mel bands it listens to."""
        return int(self.model.config.num_mel_bins)


def load_whisper(name: str, revision: str | None) -> Whisper:
    """The model that a package, the hub or a folder has under that name.

    Raises:
        InputError: It is no Whisper model.
        MsakitError: It is not here and cannot be fetched.
    """
    if name in PACKAGES:
        return Whisper(*load_packaged(name))
    checkpoint = find_checkpoint(name, revision)
    if AutoConfig.from_pretrained(checkpoint.folder).model_type != "whisper":
        raise InputError(f"'{name}' is no Whisper model.", hint="Use the extractor hf-audio for it.")
    return Whisper(load_whole(WhisperForConditionalGeneration, checkpoint.folder), checkpoint)


def suppressed_tokens(folder: Path) -> tuple[list[int], list[int]]:
    """Tokens that are never written, and those that do not begin a transcript, as the checkpoint says.

    transformers keeps them in generation_config.json, CTranslate2 in config.json.
    """
    for name, keys in (
        ("generation_config.json", ("suppress_tokens", "begin_suppress_tokens")),
        ("config.json", ("suppress_ids", "suppress_ids_begin")),
    ):
        path = folder / name
        content = read_json(path) if path.is_file() else {}
        if keys[0] in content:
            always, first = (list(content.get(key) or ()) for key in keys)
            return always, first
    return [], []
