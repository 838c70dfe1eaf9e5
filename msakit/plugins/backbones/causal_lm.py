"""A causal language model of transformers' as a backbone.

Three things make it fast without changing a number: what stands before the pseudo tokens of a frozen
backbone runs once, without gradient (prefix.py); logits are computed at answer positions only; and
all answers are scored together, as one tree behind the prompt's keys and values.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache, GenerationConfig

from msakit.core.errors import InputError
from msakit.core.tensors import Sequence
from msakit.plugins.backbones.layout import (
    SLOT,
    lengths_of,
    mask_after_prefix,
    mask_over_tree,
    pad_rows,
    valid_mask,
)
from msakit.plugins.backbones.lora import load_lora, save_lora
from msakit.plugins.backbones.prefix import PrefixCache, PrefixStates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Seq
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from msakit.core.answers import AnswerTrie
    from msakit.core.prompt import Prompt
    from msakit.plugins.backbones.codecs import TextCodec

_LOGIT_CHUNK_BYTES = 1 << 28


class CausalLM(nn.Module):
    """A frozen or LoRA-tuned decoder that reads prompts with pseudo tokens in them.

    Args:
        model: A causal language model, or a peft model around one.
        codec: Its tokenizer.
        start_ids: Ids every prompt begins with.
        prefix_cache_mb: Memory for keys and values of prompt prefixes while frozen.
    """

    def __init__(
        self, model: PreTrainedModel, codec: TextCodec, start_ids: Seq[int], *, prefix_cache_mb: int = 1024
    ) -> None:
        super().__init__()
        self.model = model
        self.codec = codec
        self._start_ids = list(start_ids)
        self.has_lora = hasattr(model, "peft_config")
        if not self.has_lora:
            model.requires_grad_(requires_grad=False)
        self.prefix_cache = PrefixCache(self._compute_prefixes, prefix_cache_mb << 20)
        config = self.language_model.config.get_text_config()
        self.hidden_size: int = config.hidden_size
        self.num_layers: int = config.num_hidden_layers
        self._window: int | None = _attention_window(config)
        self.eval()

    @property
    def language_model(self) -> PreTrainedModel:
        """The transformers model itself; LoRA layers, where there are any, sit inside it."""
        return self.model.get_base_model() if self.has_lora else self.model  # type: ignore[no-any-return, operator]

    @property
    def device(self) -> torch.device:
        """Where its embeddings are."""
        return self._embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of its activations."""
        return self._embedding.weight.dtype

    @property
    def end_id(self) -> int | None:
        """The token that ends an answer, or None."""
        return self.codec.end_id

    @property
    def _embedding(self) -> nn.Embedding:
        return self.language_model.get_input_embeddings()  # type: ignore[return-value]

    def train(self, mode: bool = True) -> CausalLM:
        """Switch LoRA's dropout; a frozen backbone always stays in evaluation mode."""
        return super().train(mode and self.has_lora)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a piece of text, without any special token."""
        return self.codec.encode(text)

    def detokenize(self, token_ids: Seq[int]) -> str:
        """The text of token ids."""
        return self.codec.decode(token_ids)

    def start_ids(self) -> list[int]:
        """Ids every prompt begins with."""
        return list(self._start_ids)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Within it, LoRA is off and the model is the pretrained one, bit by bit."""
        with self.model.disable_adapter() if self.has_lora else nullcontext():  # type: ignore[operator]
            yield

    def embed(self, token_ids: Seq[Seq[int]]) -> Sequence:
        """Word embeddings [B, L, H] of ragged token ids, float32, without gradient."""
        with torch.no_grad():
            values = self._embedding(pad_rows(token_ids, self.codec.pad_id).to(self.device))
        return Sequence(values.float(), lengths_of(token_ids).to(self.device))

    @torch.no_grad()
    def encode_text(self, token_ids: Seq[Seq[int]]) -> Sequence:
        """Last-layer states [B, L, H] of ragged token ids behind the start tokens, float32.

        LoRA is off: as features of the text they do not drift while the backbone is tuned.
        """
        rows = [[*self._start_ids, *row] for row in token_ids]
        with self.plain():
            hidden = self._decode(self._embed_rows(rows, None))
        return Sequence(hidden[:, len(self._start_ids) :].float(), lengths_of(token_ids).to(self.device))

    def answer_loss(self, prompt: Prompt, answers: Seq[Seq[int]]) -> Tensor:
        """Mean cross-entropy of the answers' tokens, each token of the batch weighing the same.

        The gradient reaches the pseudo tokens and LoRA; nothing else requires one.
        """
        prefix, rows = self._split(prompt)
        full = [[*row, *answer[:-1]] for row, answer in zip(rows, answers, strict=True)]
        hidden = self._decode_after(prefix, self._embed_rows(full, prompt.pseudo))
        places = [(b, len(row) - 1 + t) for b, row in enumerate(rows) for t in range(len(answers[b]))]
        where = torch.tensor(places, device=self.device)
        logits = self._logits(hidden[where[:, 0], where[:, 1]])
        targets = torch.tensor([token for answer in answers for token in answer], device=self.device)
        return functional.cross_entropy(logits, targets)

    @torch.no_grad()
    def answer_scores(self, prompt: Prompt, trie: AnswerTrie) -> Tensor:
        """Score (log p) of every admissible answer given the prompt, [B, A], float32.

        One forward of the prompt, then one of the trie's inner nodes, each of which sees the prompt
        and its own ancestors only; both exact.
        """
        prefix, rows = self._split(prompt)
        cache = DynamicCache() if prefix is None else prefix.to_cache()
        hidden = self._decode_after(prefix, self._embed_rows(rows, prompt.pseudo), cache)
        lengths = lengths_of(rows).to(self.device)
        states = hidden[torch.arange(len(rows), device=self.device), lengths - 1][:, None]
        if trie.tokens:
            nodes = self._decode_tree(prefix, lengths, hidden.shape[1], cache, trie)
            states = torch.cat([states, nodes], dim=1)
        return self._score_paths(states, trie)

    @torch.no_grad()
    def generate(self, prompt: Prompt, max_new_tokens: int) -> list[list[int]]:
        """Greedy continuation of each prompt: new tokens only, without the end token."""
        rows = self._full_rows(prompt)
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, repetition_penalty=1.0,
            eos_token_id=self.codec.end_id, pad_token_id=self.codec.pad_id,
        )  # fmt: skip
        mask = pad_rows([[1] * len(row) for row in rows], 0, left=True).to(self.device)
        if prompt.pseudo is None:
            ids = pad_rows(rows, self.codec.pad_id, left=True).to(self.device)
            output = self.language_model.generate(ids, attention_mask=mask, generation_config=settings)  # type: ignore[operator]
            output = output[:, ids.shape[1] :]
        else:
            embeds = self._embed_rows(rows, prompt.pseudo, left=True)
            output = self.language_model.generate(  # type: ignore[operator]
                inputs_embeds=embeds, attention_mask=mask, generation_config=settings
            )
            if output.shape[1] > max_new_tokens:
                msg = f"generate returned {output.shape[1]} tokens for {max_new_tokens}: not new tokens only"
                raise RuntimeError(msg)
        return [_until(row, self.codec.end_id) for row in output.tolist()]

    def save_adaptation(self, folder: Path) -> None:
        """Save the LoRA updates in peft's own format; a frozen backbone saves nothing."""
        if self.has_lora:
            save_lora(self, folder)

    def load_adaptation(self, folder: Path) -> None:
        """Load LoRA updates; a frozen backbone loads nothing.

        Raises:
            InputError: The folder holds none, or they are for other layers or another rank.
        """
        if self.has_lora:
            load_lora(self, folder)

    def _full_rows(self, prompt: Prompt) -> list[list[int]]:
        slots = [SLOT] * (0 if prompt.pseudo is None else prompt.pseudo.shape[1])
        rows = [[*before, *slots, *after] for before, after in zip(prompt.before, prompt.after, strict=True)]
        if not all(rows):
            raise InputError("A prompt is empty: it needs a start token, text or pseudo tokens.")
        return rows

    def _split(self, prompt: Prompt) -> tuple[PrefixStates | None, list[list[int]]]:
        """The cached part of a prompt and the rest of it, as rows with slots; no row is empty."""
        rows = self._full_rows(prompt)
        if self.has_lora:
            return None, rows
        keep = 1 if prompt.pseudo is None and not all(prompt.after) else 0
        cuts = [max(0, len(before) - keep) for before in prompt.before]
        if not all(cuts):
            return None, rows
        prefix = self.prefix_cache.get([row[:cut] for row, cut in zip(rows, cuts, strict=True)])
        return prefix, [row[cut:] for row, cut in zip(rows, cuts, strict=True)]

    @torch.no_grad()
    def _compute_prefixes(self, prefixes: Seq[tuple[int, ...]]) -> list[Tensor]:
        cache = DynamicCache()
        self._decode(self._embed_rows(prefixes, None), cache=cache)
        states = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])  # type: ignore[list-item]
        return [states[:, :, index, :, : len(prefix)] for index, prefix in enumerate(prefixes)]

    def _embed_rows(self, rows: Seq[Seq[int]], pseudo: Tensor | None, *, left: bool = False) -> Tensor:
        """Rows of ids and slots to [B, S, H], the pseudo tokens put into the slots in order."""
        ids = pad_rows(rows, self.codec.pad_id, left=left).to(self.device)
        slots = ids == SLOT
        embeds = self._embedding(ids.masked_fill(slots, self.codec.pad_id)).detach()
        if pseudo is None:
            return embeds
        return embeds.masked_scatter(slots[..., None], pseudo.to(device=embeds.device, dtype=embeds.dtype))

    def _decode_after(
        self, prefix: PrefixStates | None, embeds: Tensor, cache: DynamicCache | None = None
    ) -> Tensor:
        """Last-layer states [B, S, H] of rows behind a prefix, or behind nothing."""
        if prefix is None:
            return self._decode(embeds, cache=cache)
        width = embeds.shape[1]
        return self._decode(
            embeds,
            mask=mask_after_prefix(prefix.lengths, prefix.width, width),
            positions=prefix.lengths[:, None] + torch.arange(width, device=self.device),
            cache=prefix.to_cache() if cache is None else cache,
        )

    def _decode_tree(
        self, prefix: PrefixStates | None, lengths: Tensor, width: int, cache: DynamicCache, trie: AnswerTrie
    ) -> Tensor:
        """Last-layer states [B, N, H] of the trie's inner nodes behind the prompt in `cache`."""
        batch = lengths.shape[0]
        context = valid_mask(lengths, width)
        if prefix is not None:
            context = torch.cat([valid_mask(prefix.lengths, prefix.width), context], dim=1)
        ancestors = torch.from_numpy(trie.ancestors).to(self.device)
        depths = torch.tensor(trie.depths, device=self.device)
        ids = torch.tensor(trie.tokens, device=self.device)
        return self._decode(
            self._embedding(ids)[None].expand(batch, -1, -1),
            mask=mask_over_tree(context, ancestors),
            positions=context.sum(1)[:, None] + depths[None, :] - 1,
            cache=cache,
        )

    def _decode(
        self,
        embeds: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: DynamicCache | None = None,
    ) -> Tensor:
        """The decoder stack without the language-model head."""
        seen = embeds.shape[1] if mask is None else mask.shape[-1]
        if self._window is not None and seen > self._window:
            raise InputError(
                f"A prompt of {seen} tokens exceeds the backbone's attention window of {self._window}.",
                hint="Lower the text length limit.",
            )
        output = self.language_model.get_decoder()(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return output.last_hidden_state  # type: ignore[no-any-return]

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.language_model.get_output_embeddings()(hidden).float()  # type: ignore[no-any-return, misc]

    def _score_paths(self, states: Tensor, trie: AnswerTrie) -> Tensor:
        """Sum of edge log probabilities along each answer's path: [B, 1 + N, H] to [B, A]."""
        nodes = torch.tensor(trie.edge_nodes, device=states.device)
        tokens = torch.tensor(trie.edge_tokens, device=states.device)
        paths = torch.from_numpy(trie.padded_paths).to(states.device)
        vocabulary = self._embedding.num_embeddings
        step = max(1, _LOGIT_CHUNK_BYTES // (4 * vocabulary * states.shape[1]))
        scores = []
        for chunk in states.split(step):
            logits = self._logits(chunk)
            edges = logits[:, nodes, tokens] - logits.logsumexp(-1)[:, nodes]
            scores.append(functional.pad(edges, (0, 1))[:, paths].sum(-1))
        return torch.cat(scores)


def _until(tokens: list[int], end_id: int | None) -> list[int]:
    return tokens[: tokens.index(end_id)] if end_id in tokens else tokens  # type: ignore[arg-type]


def _attention_window(config: object) -> int | None:
    """Tokens a layer with sliding-window attention sees, or None where every layer sees all."""
    kinds = getattr(config, "layer_types", None) or []
    return getattr(config, "sliding_window", None) if "sliding_attention" in kinds else None
