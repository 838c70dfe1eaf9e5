"""Qwen (2023) checkpoints as `Qwen2ForCausalLM`, and their tokenizer, without remote code.

The networks agree up to names: `c_attn` is query, key and value in one; of the two gates `w2` is
activated (Qwen2's gate) and `w1` is not (its up projection); `intermediate_size` counts both. Qwen's
dynamic NTK and log-n attention scaling act only beyond its 8192 training positions and are left out.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MissingExtraError

from .checkpoints import CheckpointFormat, require
from .tensor_names import Named, TensorNames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

_TENSORS = TensorNames(
    "Qwen",
    layer=re.compile(r"transformer\.h\.(\d+)\.(.+)\.(weight|bias)\Z"),
    names={
        "transformer.wte": "model.embed_tokens",
        "transformer.ln_f": "model.norm",
        "lm_head": "lm_head",
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        "attn.c_proj": "self_attn.o_proj",
        "mlp.w1": "mlp.up_proj",
        "mlp.w2": "mlp.gate_proj",
        "mlp.c_proj": "mlp.down_proj",
    },
    fused="attn.c_attn",
    computed="rotary_emb.inv_freq",
)
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{index}|>" for index in range(205)))


def read_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a `Qwen2ForCausalLM` from a Qwen config.json."""
    require(config, "Qwen", model_type="qwen", no_bias=True, rotary_pct=1.0)
    return {
        "model_type": "qwen2",
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["intermediate_size"] // 2,
        "num_hidden_layers": config["num_hidden_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "num_key_value_heads": config["num_attention_heads"],
        "vocab_size": config["vocab_size"],
        "max_position_embeddings": config["seq_length"],
        "rms_norm_eps": config["layer_norm_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])},
        "tie_word_embeddings": config["tie_word_embeddings"],
        "bos_token_id": None,
        "eos_token_id": None,
    }


def convert(name: str, tensor: Tensor, facts: Mapping[str, Any]) -> list[Named]:
    """One Qwen tensor to its Qwen2 tensors."""
    width = facts["hidden_size"]
    return _TENSORS.convert(name, tensor, (width, width, width))


class QwenCodec:
    """Qwen's byte-level BPE from its `.tiktoken` file: one line a token, base64 and rank.

    Raises:
        MissingExtraError: tiktoken is not installed.
        InputError: The folder has no vocabulary.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tiktoken
        except ImportError as error:
            raise MissingExtraError("Qwen's tokenizer", "tiktoken", "qwen") from error
        files = sorted(file for file in folder.glob("*.tiktoken") if file.is_file())
        if not files:
            raise InputError(f"The folder '{folder}' holds no Qwen vocabulary (qwen.tiktoken).")
        self._file = files[0]
        try:
            entries = (line.split() for line in self._file.read_bytes().splitlines() if line)
            ranks = {base64.b64decode(token): int(rank) for token, rank in entries}
            self._special = {token: len(ranks) + index for index, token in enumerate(_SPECIAL)}
            self._bpe = tiktoken.Encoding(
                "qwen", pat_str=_WORDS, mergeable_ranks=ranks, special_tokens=self._special
            )
        except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise InputError(f"The vocabulary '{self._file}' is damaged: {error}") from error
        self.end_id: int | None = self._special["<|endoftext|>"]
        self.pad_id = self._special["<|endoftext|>"]

    def encode(self, text: str) -> list[int]:
        """Token ids; text that looks like a special token stays text."""
        return self._bpe.encode_ordinary(unicodedata.normalize("NFC", text))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens left out."""
        first_special = self._special["<|endoftext|>"]
        return self._bpe.decode([token for token in token_ids if token < first_special], errors="replace")

    def token_id(self, token: str) -> int | None:
        """The id of a special token; "eos" is the end of a text."""
        return self._special.get("<|endoftext|>" if token == "eos" else token)

    def save(self, folder: Path) -> None:
        """Copy the vocabulary."""
        (folder / "qwen.tiktoken").write_bytes(self._file.read_bytes())


QWEN = CheckpointFormat(
    "qwen", read_architecture, convert, QwenCodec, files=("*.tiktoken",), start=("<|im_start|>",)
)
