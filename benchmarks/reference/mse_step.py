"""The released code's way of training and evaluating one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from msakit.core.tensors import Sequence

if TYPE_CHECKING:
    from msakit.core.pipeline.batch import Batch
    from msakit.core.pipeline.pipeline import Pipeline

IGNORED = -100


class ReferenceStep(nn.Module):
    """Shares a pipeline's backbone and adapter; differs in how it runs them.

    Args:
        pipeline: A frozen, paper-layout pipeline.
        longest_text: Text tokens every sample is padded to.
    """

    def __init__(self, pipeline: Pipeline, longest_text: int) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.model = pipeline.backbone.language_model
        self.longest_text = longest_text
        template = pipeline.prompts.template
        tokenize = pipeline.backbone.tokenize
        self.opening = pipeline.backbone.start_ids() + tokenize(template.open_tag)
        self.closing = tokenize(template.close_tag) + tokenize(template.task)

    def _embed(self, ids: list[list[int]]) -> Tensor:
        return self.model.get_input_embeddings()(torch.tensor(ids, device=self.model.device))

    def _inputs(self, batch: Batch) -> Tensor:
        """[B, opening + K + longest text + closing, H]: text padded on its left, inside the prompt."""
        tokenize, size = self.pipeline.backbone.tokenize, len(batch)
        cut = [tokenize(text or "")[: self.longest_text] for text in batch.texts]
        text = self._embed([[0] * (self.longest_text - len(row)) + row for row in cut])
        lengths = torch.full((size,), self.longest_text, device=text.device)
        pseudo = self.pipeline.adapter(Sequence(text.float(), lengths), batch.modalities).pseudo
        opening, closing = self._embed([self.opening] * size), self._embed([self.closing] * size)
        return torch.cat([opening, pseudo.to(text.dtype), text, closing], dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """The loss, from logits of every position."""
        inputs = self._inputs(batch)
        answers = self.pipeline.answers
        ids = [list(self.pipeline.trie.answers[answers.index_of(label)]) for label in batch.labels or ()]
        embeds = torch.cat([inputs, self._embed(ids)], dim=1)
        ignored = torch.full(inputs.shape[:2], IGNORED, device=embeds.device)
        labels = torch.cat([ignored, torch.tensor(ids, device=embeds.device)], dim=1)
        return self.model(inputs_embeds=embeds, labels=labels).loss

    @torch.no_grad()
    def generate(self, batch: Batch, max_new_tokens: int = 4) -> list[float | None]:
        """Greedy answers, parsed; None where the text is no answer."""
        inputs = self._inputs(batch)
        mask = torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device)
        tokens = self.model.generate(
            inputs_embeds=inputs, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False
        )
        texts = [self.pipeline.backbone.detokenize(row.tolist()) for row in tokens]
        return [self.pipeline.answers.parse(text).value for text in texts]
