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

from .decoding import Decoder, context_mask
from .layout import SLOT, lengths_of, pad_rows
from .lora import load_lora
from .prefix import PrefixCache, PrefixStates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Seq
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from msakit.core.pipeline.answers import AnswerTrie
    from msakit.core.pipeline.prompt import Prompt

    from .codecs import TextCodec

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
        self.has_lora = hasattr(model, "peft_config")
        self._start_ids = list(start_ids)
        if not self.has_lora:
            model.requires_grad_(requires_grad=False)
        self.decoder = Decoder(self.language_model, codec.pad_id)
        self.prefix_cache = PrefixCache(self.decoder.compute_prefixes, prefix_cache_mb << 20)
        config = self.language_model.config.get_text_config()
        self.hidden_size: int = config.hidden_size
        self.num_layers: int = config.num_hidden_layers
        self.vocab_size: int = config.vocab_size
        self.eval()

    @property
    def language_model(self) -> PreTrainedModel:
        """The transformers model itself; LoRA layers, where there are any, sit inside it."""
        return self.model.get_base_model() if self.has_lora else self.model

    @property
    def device(self) -> torch.device:
        """Where its embeddings are."""
        return self.decoder.device

    @property
    def dtype(self) -> torch.dtype:
        """Of its activations."""
        return self.decoder.embedding.weight.dtype

    @property
    def end_id(self) -> int | None:
        """The token that ends an answer, or None."""
        return self.codec.end_id

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
        with self.model.disable_adapter() if self.has_lora else nullcontext():
            yield

    def save_pretrained(self, folder: Path) -> None:
        """Write the whole model and its tokenizer as transformers does."""
        if self.has_lora:
            raise InputError("A backbone with LoRA is saved by its adapter, or after merging it.")
        self.language_model.save_pretrained(folder)
        self.codec.save(folder)

    def save_adaptation(self, folder: Path) -> None:
        """Write LoRA in peft's own format; a frozen backbone writes nothing."""
        if self.has_lora:
            self.model.save_pretrained(folder)

    def load_adaptation(self, folder: Path) -> None:
        """Read what `save_adaptation` wrote; a frozen backbone reads nothing."""
        if self.has_lora:
            load_lora(self.model, folder)

    def prepare(self, before: Seq[Seq[int]], on_batch: Callable[[int, int], None] | None = None) -> None:
        """Compute what stands before the pseudo tokens of all samples of a run, once, ahead of it.

        Worth it in the late layout; without it the first epoch does the same as it goes along.
        """
        if not self.has_lora:
            self.prefix_cache.fill([row for row in before if row], on_batch)

    @torch.no_grad()
    def prepared_bytes(self, before: Seq[Seq[int]]) -> int:
        """Memory that `prepare` would take for these distinct prompts, within the cache's budget."""
        rows = [] if self.has_lora else [row for row in before if row]
        [one] = self.decoder.compute_prefixes([(0,)])
        a_token = one.states.numel() * one.states.element_size()
        a_row = one.num_bytes - a_token
        return min(sum(len(row) * a_token + a_row for row in rows), self.prefix_cache.budget_bytes)

    def embed(self, token_ids: Seq[Seq[int]]) -> Sequence:
        """Word embeddings [B, L, H] of ragged token ids, float32, without gradient."""
        values = self.decoder.embed_rows(token_ids, None)
        return Sequence(values.float(), lengths_of(token_ids).to(self.device))

    @torch.no_grad()
    def encode_text(self, token_ids: Seq[Seq[int]]) -> Sequence:
        """Last-layer states [B, L, H] of ragged token ids behind the start tokens, float32.

        LoRA is off: as features of the text they do not drift while the backbone is tuned.
        """
        rows = [[*self._start_ids, *row] for row in token_ids]
        lengths = lengths_of(token_ids).to(self.device)
        if not any(rows):
            return Sequence(torch.zeros(len(rows), 0, self.hidden_size, device=self.device), lengths)
        with self.plain():
            hidden = self.decoder.run(self.decoder.embed_rows(rows, None))
        return Sequence(hidden[:, len(self._start_ids) :].float(), lengths)

    @torch.no_grad()
    def read(self, before: Seq[Seq[int]], after: Seq[Seq[int]]) -> Tensor:
        """Last-layer state [B, H] after the last token of each prompt without pseudo tokens, float32.

        LoRA is off. What was prepared of a prompt is not run again.
        """
        if not self.has_lora and all(before) and all(after):
            prefix = self.prefix_cache.get(before)
            hidden = self.decoder.run_after(prefix, self.decoder.embed_rows(after, None))
            return hidden[torch.arange(len(after)), lengths_of(after) - 1].float()
        rows = [[*first, *second] for first, second in zip(before, after, strict=True)]
        known = [None if self.has_lora else self.prefix_cache.last_state(row) for row in rows]
        missing = [row for row, state in zip(rows, known, strict=True) if state is None]
        if missing:
            with self.plain():
                hidden = self.decoder.run(self.decoder.embed_rows(missing, None))
            fresh = iter(hidden[index, len(row) - 1] for index, row in enumerate(missing))
            known = [next(fresh) if state is None else state for state in known]
        return torch.stack([state for state in known if state is not None]).float()

    def answer_losses(self, prompt: Prompt, answers: Seq[Seq[int]]) -> Tensor:
        """Cross-entropy of each of the answers' tokens [N], logits computed at their positions only.

        The gradient reaches the pseudo tokens and LoRA; nothing else requires one.
        """
        prefix, rows = self._split(prompt)
        full = [[*row, *answer[:-1]] for row, answer in zip(rows, answers, strict=True)]
        hidden = self.decoder.run_after(prefix, self.decoder.embed_rows(full, prompt.pseudo))
        places = [(b, len(row) - 1 + t) for b, row in enumerate(rows) for t in range(len(answers[b]))]
        where = torch.tensor(places, device=self.device)
        logits = self.decoder.logits(hidden[where[:, 0], where[:, 1]])
        targets = torch.tensor([token for answer in answers for token in answer], device=self.device)
        return functional.cross_entropy(logits, targets, reduction="none")

    def last_states(self, prompt: Prompt) -> Tensor:
        """Last-layer state [B, H] after each prompt's last token, float32, for a head that answers."""
        prefix, rows = self._split(prompt)
        hidden = self.decoder.run_after(prefix, self.decoder.embed_rows(rows, prompt.pseudo))
        return _after_rows(hidden, rows).float()

    @torch.no_grad()
    def answer_scores(self, prompt: Prompt, trie: AnswerTrie) -> Tensor:
        """Score (log p) of every admissible answer given the prompt, [B, A], float32.

        One forward of the prompt, then one of the trie's inner nodes, each of which sees the prompt
        and its own ancestors only; both exact.
        """
        prefix, rows = self._split(prompt)
        cache = DynamicCache() if prefix is None else prefix.to_cache()
        hidden = self.decoder.run_after(prefix, self.decoder.embed_rows(rows, prompt.pseudo), cache)
        states = _after_rows(hidden, rows)[:, None]
        if trie.tokens:
            context = context_mask(prefix, lengths_of(rows).to(self.device), hidden.shape[1])
            states = torch.cat([states, self.decoder.run_tree(context, cache, trie)], dim=1)
        return self._score_paths(states, trie)

    @torch.no_grad()
    def generate(self, prompt: Prompt, max_new_tokens: int) -> list[list[int]]:
        """Greedy continuation of each prompt: new tokens only, without the end token."""
        rows = self._full_rows(prompt)
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            eos_token_id=self.codec.end_id,
            pad_token_id=self.codec.pad_id,
        )
        mask = pad_rows([[1] * len(row) for row in rows], 0, left=True).to(self.device)
        if prompt.pseudo is None:
            given = {"input_ids": pad_rows(rows, self.codec.pad_id, left=True).to(self.device)}
            num_given = mask.shape[1]
        else:
            given = {"inputs_embeds": self.decoder.embed_rows(rows, prompt.pseudo, left=True)}
            num_given = 0  # embeddings have no ids to repeat, so only new tokens come back
        output = self.language_model.generate(**given, attention_mask=mask, generation_config=settings)
        if not num_given < output.shape[1] <= num_given + max_new_tokens:
            msg = f"generate returned {output.shape[1]} tokens for {num_given} given and {max_new_tokens} new"
            raise RuntimeError(msg)
        return [_until(row, self.codec.end_id) for row in output[:, num_given:].tolist()]

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

    def _score_paths(self, states: Tensor, trie: AnswerTrie) -> Tensor:
        """Sum of edge log probabilities along each answer's path: [B, 1 + N, H] to [B, A]."""
        nodes = torch.tensor(trie.edge_nodes, device=states.device)
        tokens = torch.tensor(trie.edge_tokens, device=states.device)
        paths = torch.from_numpy(trie.padded_paths).to(states.device)
        vocabulary = self.decoder.embedding.num_embeddings
        step = max(1, _LOGIT_CHUNK_BYTES // (4 * vocabulary * states.shape[1]))
        scores = []
        for chunk in torch.split(states, step):
            logits = self.decoder.logits(chunk)
            edges = logits[:, nodes, tokens] - logits.logsumexp(-1)[:, nodes]
            scores.append(functional.pad(edges, (0, 1))[:, paths].sum(-1))
        return torch.cat(scores)


def _after_rows(hidden: Tensor, rows: Seq[Seq[int]]) -> Tensor:
    """Of right-padded states [B, S, H], the one at each row's last token [B, H]."""
    return hidden[torch.arange(len(rows), device=hidden.device), lengths_of(rows).to(hidden.device) - 1]


def _until(tokens: list[int], end_id: int | None) -> list[int]:
    return tokens[: tokens.index(end_id)] if end_id in tokens else tokens
