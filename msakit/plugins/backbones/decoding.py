"""The decoder of a causal language model, run on embeddings: states, tree states, logits."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from msakit.core.errors import InputError

from .layout import SLOT, mask_after_prefix, mask_over_tree, pad_rows, valid_mask
from .prefix import Prefix, PrefixStates
from .recompute import FixedPrefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from msakit.core.pipeline.answers import AnswerTrie


class Decoder:
    """Runs the decoder stack of a model and its language-model head, each only where it is needed.

    Args:
        model: The causal language model; LoRA layers may sit inside it.
        pad_id: What stands in padding.
    """

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self.model = model
        self.pad_id = pad_id
        self._window = _attention_window(model.config.get_text_config())

    @property
    def embedding(self) -> nn.Embedding:
        """The table of word embeddings."""
        table: nn.Embedding = self.model.get_input_embeddings()
        return table

    @property
    def device(self) -> torch.device:
        """Where the embeddings are."""
        device: torch.device = self.embedding.weight.device
        return device

    def embed_rows(
        self, rows: Sequence[Sequence[int]], pseudo: Tensor | None, *, left: bool = False
    ) -> Tensor:
        """Rows of ids and slots to [B, S, H], the pseudo tokens put into the slots in order."""
        ids = pad_rows(rows, self.pad_id, left=left).to(self.device)
        slots = ids == SLOT
        embeds: Tensor = self.embedding(ids.masked_fill(slots, self.pad_id)).detach()
        if pseudo is None:
            return embeds
        return embeds.masked_scatter(slots[..., None], pseudo.to(device=embeds.device, dtype=embeds.dtype))

    def run(
        self,
        embeds: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: DynamicCache | None = None,
    ) -> Tensor:
        """Last-layer states [B, S, H]; without a mask, every token sees the ones before it.

        Raises:
            InputError: The prompt is longer than a layer's attention window.
        """
        seen = embeds.shape[1] if mask is None else mask.shape[-1]
        if self._window is not None and seen > self._window:
            raise InputError(
                f"A prompt of {seen} tokens exceeds the backbone's attention window of {self._window}.",
                hint="Lower the text length limit.",
            )
        states: Tensor = self.model.get_decoder()(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return states

    def run_after(
        self, prefix: PrefixStates | None, embeds: Tensor, cache: DynamicCache | None = None
    ) -> Tensor:
        """Last-layer states [B, S, H] of rows behind a prefix, or behind nothing.

        A cache, if one is given, already holds the prefix and is grown by the rows.
        """
        if prefix is None:
            return self.run(embeds, cache=cache)
        width = embeds.shape[1]
        return self.run(
            embeds,
            mask=mask_after_prefix(prefix.lengths, prefix.width, width),
            positions=prefix.lengths[:, None] + torch.arange(width, device=self.device),
            cache=FixedPrefix(prefix) if cache is None else cache,
        )

    def run_tree(self, context: Tensor, cache: DynamicCache, trie: AnswerTrie) -> Tensor:
        """Last-layer states [B, N, H] of a trie's inner nodes behind a prompt.

        Args:
            context: [B, S] bool, which of the cache's places hold real tokens of the prompt.
            cache: Keys and values of the prompt.
            trie: The answers.
        """
        depths = torch.tensor(trie.depths, device=self.device)
        nodes = self.embedding(torch.tensor(trie.tokens, device=self.device))
        return self.run(
            nodes[None].expand(context.shape[0], -1, -1),
            mask=mask_over_tree(context, torch.from_numpy(trie.ancestors).to(self.device)),
            positions=context.sum(1)[:, None] + depths[None, :] - 1,
            cache=cache,
        )

    def compute_prefixes(self, prefixes: Sequence[tuple[int, ...]]) -> list[Prefix]:
        """Keys, values and last states of token rows, for what follows them.

        What all rows begin with, the wording before the text, is run once for all of them.
        """
        start = common_start(prefixes)
        before = self._repeated(start, len(prefixes)) if start else None
        cache = DynamicCache() if before is None else before.to_cache()
        rows = [prefix[len(start) :] for prefix in prefixes]
        hidden = self.run_after(before, self.embed_rows(rows, None), cache)
        states = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])
        return [
            Prefix(states[:, :, index, :, : len(prefix)], hidden[index, len(prefix) - len(start) - 1])
            for index, prefix in enumerate(prefixes)
        ]

    def _repeated(self, row: tuple[int, ...], times: int) -> PrefixStates:
        [computed] = self.compute_prefixes([row])
        return PrefixStates.of([computed.states] * times)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] to float32 [..., vocabulary]."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits.float()


def common_start(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The tokens with which several rows all begin, of no row all its tokens; none of a single row."""
    if len(rows) < 2:
        return ()
    longest = min(map(len, rows)) - 1
    same = (len(set(column)) == 1 for column in zip(*rows, strict=False))
    return rows[0][: min(longest, sum(itertools.takewhile(bool, same)))]


def context_mask(prefix: PrefixStates | None, lengths: Tensor, width: int) -> Tensor:
    """[B, P + width] bool: real tokens of prompts made of a prefix and right-padded rows."""
    rows = valid_mask(lengths, width)
    return rows if prefix is None else torch.cat([valid_mask(prefix.lengths, prefix.width), rows], dim=1)


def _attention_window(config: object) -> int | None:
    """Tokens a layer with sliding-window attention sees, or None where every layer sees all."""
    kinds = getattr(config, "layer_types", None) or []
    return getattr(config, "sliding_window", None) if "sliding_attention" in kinds else None
