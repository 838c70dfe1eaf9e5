"""The interfaces of components.

Components are ordinary `torch.nn.Module`s (extractors: ordinary classes) and inherit nothing from
here. The builder reads a component's pydantic config and calls its constructor with the config's
fields as keyword arguments, plus the widths named below; a config object never enters a module.

Every component obeys these rules, each a test in `msakit.testing`: content in padding never changes
an output; a sample's output depends neither on batch order nor on its neighbours; B=1, L=1, T=1 and
absent modalities work; bfloat16 and float32 agree; state dicts round-trip; gradients reach every
trainable parameter; the same seed gives the same result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from msakit.core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Sequence as Seq
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from msakit.core.pipeline.answers import AnswerTrie
    from msakit.core.pipeline.prompt import Prompt
    from msakit.core.registry.specs import BackboneSpec
    from msakit.core.tensors import Encoded, Fused, Sequence


@dataclass(frozen=True)
class MediaClip:
    """A media file, or the part of it between two times.

    Attributes:
        path: The file.
        clip_id: Its name in tables and messages.
        text: What is said in it.
        start_s: Where the clip starts in the file; None means its beginning.
        end_s: Where it ends; None means the file's end.
    """

    path: Path
    clip_id: str
    text: str = ""
    start_s: float | None = None
    end_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a segment that is empty or reversed."""
        start, end = self.start_s or 0.0, math.inf if self.end_s is None else self.end_s
        if not 0 <= start < end:
            msg = f"{self.clip_id}: the segment from {self.start_s} s to {self.end_s} s is empty"
            raise MediaError(msg, hint="Give start_s >= 0 and end_s > start_s, in seconds.")


@dataclass(frozen=True)
class FeatureArray:
    """A feature sequence: float32 values [T, D], `frame_shift_s` seconds from one row to the next.

    Attributes:
        frame_shift_s: None where one row stands for the whole clip.
        notes: What makes the values less reliable, in words ("face in 20 % of frames").
    """

    values: NDArray[np.float32]
    frame_shift_s: float | None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Extractor(Protocol):
    """Turns one media clip into one feature sequence, offline. Constructed from its config alone.

    Attributes:
        frame_shift_s: Seconds from one row to the next; None where one row stands for the whole clip.
        start_s: Where the first row begins in the clip, in seconds.
        deterministic: Whether the same clip gives the same numbers on one machine.
    """

    name: str
    version: int
    modality: str
    width: int
    frame_shift_s: float | None
    start_s: float
    deterministic: bool

    def extract(self, clip: MediaClip) -> FeatureArray:
        """Features of a clip, float32 [T, D].

        Raises:
            MediaError: The clip cannot be decoded.
        """
        ...

    def parameters(self) -> dict[str, object]:
        """Everything that changes the numbers, as JSON types; part of the feature set's identity."""
        ...

    def weights(self) -> list[str]:
        """SHA-256 of each model file that is used."""
        ...


@runtime_checkable
class BatchExtractor(Extractor, Protocol):
    """An extractor that computes several clips at once, for models that gain by it on a GPU.

    `extract(clip)` equals `encode([read(clip)])[0]`, to rounding: a clip's numbers do not depend on others.
    """

    batch_size: int

    def read(self, clip: MediaClip) -> Any:
        """A clip decoded, as `encode` takes it.

        Raises:
            MediaError: The clip cannot be decoded.
        """
        ...

    def encode(self, inputs: Seq[Any]) -> list[FeatureArray]:
        """Features of each input, float32 [T, D]."""
        ...


@runtime_checkable
class Transcriber(Protocol):
    """Writes down what is said in a clip. Constructed from its config alone."""

    @property
    def engine(self) -> str:
        """The engine and weights that produced a transcript; stored beside it."""
        ...

    def transcribe(self, clip: MediaClip) -> str:
        """The words spoken; "" where there are none.

        Raises:
            MediaError: The clip cannot be decoded or has no audio.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """Encodes one modality. Constructed with `input_size` (D)."""

    output_size: int

    def forward(self, modality: Sequence) -> Encoded:
        """[B, T, D] with lengths to a summary [B, E], a sequence [B, T, E], or both."""
        ...


@runtime_checkable
class Fuser(Protocol):
    """Fuses text with modalities. Constructed with `modality_sizes` {name: E} and `text_size` (H)."""

    output_size: int
    num_tokens: int

    def forward(self, text: Sequence, modalities: Mapping[str, Encoded]) -> Fused:
        """Text [B, L, H] and encoded modalities to tokens [B, K0, F].

        A length of 0 means the sample's text is left out of the fusion (text ablated).
        """
        ...


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """How to read one of the diagnostics a fuser shows.

    Attributes:
        kind: "map": [B, rows, columns], attention of one stream over another. "weights": [B, J], shares
            that sum to 1. "scalars": [B, J] or [B], anything else.
        entries: Names of the J numbers; of a map, the stream of its rows and that of its columns ("text",
            or a modality).
        title: What it is, in a few words.
    """

    kind: Literal["map", "weights", "scalars"]
    entries: tuple[str, ...] = ()
    title: str = ""


@runtime_checkable
class DiagnosedFuser(Fuser, Protocol):
    """A fuser that shows its inner life: whatever it puts into `Fused.diagnostics` is described here."""

    @property
    def diagnostics(self) -> Mapping[str, Diagnostic]:
        """Name to description."""
        ...

    def diagnose(self, diagnostics: Mapping[str, Tensor]) -> list[str]:
        """Warnings about the weights and scalars of N samples; empty when all is well.

        Args:
            diagnostics: Name to [N, J] or [N]; maps are not among them.
        """
        ...


@runtime_checkable
class TokenInjector(Protocol):
    """Makes pseudo tokens. Constructed with `input_size` (F), `input_tokens` (K0), `hidden_size` (H)."""

    num_tokens: int

    def forward(self, fused: Fused) -> Tensor:
        """Fused tokens [B, K0, F] to pseudo tokens [B, K, H]."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """A causal language model, frozen or LoRA-tuned, that reads prompts with pseudo tokens in them."""

    hidden_size: int

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights and activations."""
        ...

    @property
    def end_id(self) -> int | None:
        """The token that ends an answer where one answer begins another."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a piece of text, without any special token."""
        ...

    def detokenize(self, token_ids: Seq[int]) -> str:
        """The text of token ids."""
        ...

    def start_ids(self) -> list[int]:
        """Ids every prompt begins with: one BOS, or what the model was trained to see ([gMASK] sop)."""
        ...

    def embed(self, token_ids: Seq[Seq[int]]) -> Sequence:
        """Word embeddings [B, L, H] of ragged token ids, with lengths."""
        ...

    def encode_text(self, token_ids: Seq[Seq[int]]) -> Sequence:
        """Contextual last-layer states [B, L, H] of ragged token ids, without gradient."""
        ...

    def read(self, before: Seq[Seq[int]], after: Seq[Seq[int]]) -> Tensor:
        """Last-layer state [B, H] after the last token of prompts without pseudo tokens, without gradient.

        `before` (start ids included) and `after` are what stands around the pseudo tokens.
        """
        ...

    def prepare(self, before: Seq[Seq[int]], on_batch: Callable[[int, int], None] | None = None) -> None:
        """Compute, once and ahead of a run, what stands before the pseudo tokens; may do nothing.

        `on_batch` is told how many prompts are done, of how many.
        """
        ...

    def answer_losses(self, prompt: Prompt, answers: Seq[Seq[int]]) -> Tensor:
        """Cross-entropy of each of the answers' tokens [N], one answer's after the other's, float32."""
        ...

    def last_states(self, prompt: Prompt) -> Tensor:
        """Last-layer state [B, H] after each prompt's last token, float32, for a head that answers.

        The gradient reaches the pseudo tokens and what is trained of the backbone.
        """
        ...

    def answer_scores(self, prompt: Prompt, trie: AnswerTrie) -> Tensor:
        """Log p of every admissible answer given the prompt, [B, A], float32."""
        ...

    def generate(self, prompt: Prompt, max_new_tokens: int) -> list[list[int]]:
        """Greedy continuation of each prompt, new tokens only."""
        ...

    def save_adaptation(self, folder: Path) -> None:
        """Save what was trained of the backbone itself; a frozen one saves nothing."""
        ...

    def load_adaptation(self, folder: Path) -> None:
        """Load what `save_adaptation` saved; a frozen one loads nothing.

        Raises:
            InputError: The folder does not hold what this backbone needs.
        """
        ...


@runtime_checkable
class BackboneFacts(Protocol):
    """The size of a backbone, known without its weights."""

    hidden_size: int
    num_layers: int
    num_parameters: int
    num_trainable: int
    weight_bytes: int


@runtime_checkable
class BackboneLoader(Protocol):
    """A component of kind backbone: loads the models its descriptors name."""

    def load(self, spec: BackboneSpec, settings: Any) -> Backbone:
        """The model with its weights, on its device, adapted as the settings say."""
        ...

    def measure(self, spec: BackboneSpec, settings: Any) -> BackboneFacts:
        """Its size, exactly, from architecture facts alone."""
        ...
