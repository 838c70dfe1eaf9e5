"""ChatGLM3 checkpoints as `GlmForCausalLM`, and their tokenizer, without remote code.

The networks agree up to names and one split: `query_key_value` holds all query heads, then the key
groups, then the value groups. Both rotate the first half of every head in interleaved pairs, and both
keep gate and up projection in one matrix, gate first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MissingExtraError

from .checkpoints import CheckpointFormat, require
from .tensor_names import Named, TensorNames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

_TENSORS = TensorNames(
    "ChatGLM",
    layer=re.compile(r"transformer\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)\Z"),
    names={
        "transformer.embedding.word_embeddings": "model.embed_tokens",
        "transformer.encoder.final_layernorm": "model.norm",
        "transformer.output_layer": "lm_head",
        "input_layernorm": "input_layernorm",
        "post_attention_layernorm": "post_attention_layernorm",
        "self_attention.dense": "self_attn.o_proj",
        "mlp.dense_h_to_4h": "mlp.gate_up_proj",
        "mlp.dense_4h_to_h": "mlp.down_proj",
    },
    fused="self_attention.query_key_value",
    computed="rotary_pos_emb.inv_freq",
)
_ROLES = ("system", "user", "assistant", "observation")
_SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", *(f"<|{role}|>" for role in _ROLES))


def read_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a `GlmForCausalLM` from a ChatGLM3 config.json."""
    require(
        config, "ChatGLM", model_type="chatglm", rmsnorm=True, post_layer_norm=True, add_bias_linear=False,
        apply_residual_connection_post_layernorm=False, multi_query_attention=True, quantization_bit=0,
    )  # fmt: skip
    return {
        "model_type": "glm",
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["ffn_hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "num_key_value_heads": config["multi_query_group_num"],
        "head_dim": config["kv_channels"],
        "vocab_size": config["padded_vocab_size"],
        "max_position_embeddings": config["seq_length"],
        "rms_norm_eps": config["layernorm_epsilon"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0 * config.get("rope_ratio", 1),
            "partial_rotary_factor": 0.5,
        },
        "attention_bias": config["add_qkv_bias"],
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "eos_token_id": 2,
    }


def convert(name: str, tensor: Tensor, facts: Mapping[str, Any]) -> list[Named]:
    """One ChatGLM3 tensor to its GLM tensors."""
    queries = facts["num_attention_heads"] * facts["head_dim"]
    keys = facts["num_key_value_heads"] * facts["head_dim"]
    return _TENSORS.convert(name, tensor, (queries, keys, keys))


class ChatGLMCodec:
    """ChatGLM3's sentencepiece vocabulary; its special tokens follow the last piece.

    Raises:
        MissingExtraError: sentencepiece is not installed.
        InputError: The folder has no vocabulary.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import sentencepiece
        except ImportError as error:
            raise MissingExtraError("ChatGLM's tokenizer", "sentencepiece", "chatglm") from error
        self._file = folder / "tokenizer.model"
        if not self._file.is_file():
            raise InputError(f"The folder '{folder}' holds no ChatGLM vocabulary (tokenizer.model).")
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(self._file))
        except (OSError, RuntimeError) as error:
            raise InputError(f"The vocabulary '{self._file}' is damaged: {error}") from error
        self._special = {token: len(self._pieces) + index for index, token in enumerate(_SPECIAL)}
        self.end_id: int | None = self._pieces.eos_id()
        self.pad_id: int = self._pieces.unk_id()

    def encode(self, text: str) -> list[int]:
        """Token ids; like the original, every piece of text begins with a word boundary."""
        return list(self._pieces.encode(text))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens left out."""
        return str(self._pieces.decode([token for token in token_ids if token < len(self._pieces)]))

    def token_id(self, token: str) -> int | None:
        """The id of a special token; "bos" and "eos" are sentencepiece's."""
        own = {"bos": self._pieces.bos_id(), "eos": self._pieces.eos_id()}
        return own.get(token, self._special.get(token))

    def save(self, folder: Path) -> None:
        """Copy the vocabulary."""
        (folder / "tokenizer.model").write_bytes(self._file.read_bytes())


CHATGLM = CheckpointFormat(
    "chatglm", read_architecture, convert, ChatGLMCodec, files=("tokenizer.model",), start=("[gMASK]", "sop")
)
