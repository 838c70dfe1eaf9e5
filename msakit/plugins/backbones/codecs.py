"""Text to token ids and back, behind one small interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase


class TextCodec(Protocol):
    """The tokenizer interface of a backbone.

    Attributes:
        end_id: The token that ends a text, or None.
        pad_id: Any valid id; what stands in padding is never read.
    """

    end_id: int | None
    pad_id: int

    def encode(self, text: str) -> list[int]:
        """Token ids without any special token."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens left out."""
        ...

    def token_id(self, token: str) -> int | None:
        """The id of one special token given by its name, or None."""
        ...

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a folder."""
        ...


class HubCodec:
    """A transformers tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.end_id: int | None = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end_id or 0

    def encode(self, text: str) -> list[int]:
        """Token ids; text that looks like a special token stays text where the tokenizer can do so."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens left out."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def token_id(self, token: str) -> int | None:
        """The id of a token of the vocabulary; "bos" and "eos" name the tokenizer's own."""
        if token in ("bos", "eos"):
            own = self.tokenizer.bos_token_id if token == "bos" else self.tokenizer.eos_token_id
            return None if own is None else int(own)
        found = self.tokenizer.get_vocab().get(token)
        return None if found is None else int(found)

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a folder."""
        self.tokenizer.save_pretrained(folder)


class ByteCodec:
    """UTF-8 bytes as tokens 0..255, then begin, end and padding. For the random tiny backbone."""

    VOCABULARY = 260

    def __init__(self) -> None:
        self.end_id: int | None = 257
        self.pad_id = 258

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return list(text.encode())

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of the bytes; what is no valid UTF-8 becomes the replacement character."""
        return bytes(token for token in token_ids if token < 256).decode(errors="replace")

    def token_id(self, token: str) -> int | None:
        """The id of "bos", "eos" or "pad"."""
        return {"bos": 256, "eos": 257, "pad": 258}.get(token)

    def save(self, folder: Path) -> None:
        """Nothing to write: the tokenizer is code."""
