"""Backbones in transformers' own layout, and what it takes for a model to be a backbone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from msakit.core.errors import InputError, MsakitError
from msakit.core.trust import CodeSource

from .codecs import HubCodec
from .decoding import Decoder
from .devices import choose_device, choose_dtype, quantization_settings
from .prefix import PrefixStates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedModel

    from .config import CausalLMConfig

_NO_BACKBONE = "Models of type '{kind}' cannot be run in parts as a backbone needs."


def load_codec(folder: Path, code: CodeSource | None = None) -> HubCodec:
    """The tokenizer of a folder; takes and raises what `load_model` does."""
    code = code or CodeSource.folder(folder)
    try:
        return HubCodec(AutoTokenizer.from_pretrained(folder, trust_remote_code=code.trusted))
    except Exception as error:  # whatever parsing a stranger's files raises
        raise _explain(folder, code, error) from error


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Reading a local file takes a second or two; transformers' bar for it would stand among our own."""
    was_shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            transformers_logging.enable_progress_bar()


def load_model(folder: Path, config: CausalLMConfig, code: CodeSource | None = None) -> PreTrainedModel:
    """The model of a folder, on its device and in its dtype.

    Args:
        folder: Weights, config.json and tokenizer, as transformers saves them.
        config: Device, dtype and quantization.
        code: Where code that came with the model is from; the folder itself by default.

    Raises:
        InputError: The folder holds no model, needs its own code to run, or cannot be a backbone.
        MsakitError: The model does not fit into memory.
    """
    code = code or CodeSource.folder(folder)
    device = choose_device(config.device)
    dtype = choose_dtype(config, device)
    options = quantization_settings(config.quantization, dtype, device)
    if device.type != "cpu":
        options["device_map"] = {"": device}
    try:
        with _no_progress_bar():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                trust_remote_code=code.trusted,
                output_loading_info=True,
                **options,
            )
    except torch.OutOfMemoryError as error:
        raise MsakitError(f"The model in '{folder}' does not fit into the memory of '{device}'.") from error
    except Exception as error:  # whatever parsing a stranger's files raises
        raise _explain(folder, code, error) from error
    if report["missing_keys"]:
        lacking = sorted(report["missing_keys"])
        raise InputError(f"The model in '{folder}' lacks {len(lacking)} tensors, {lacking[0]} among them.")
    if config.quantization == "none":
        check_split_run(model)
    return model


@torch.no_grad()
def check_split_run(model: PreTrainedModel) -> None:
    """See that a prompt run in two parts, head apart, gives the logits the whole model gives.

    Some architectures scale their logits, keep a state that is no keys and values, or mask by
    themselves; their answers would be silently wrong here.

    Raises:
        InputError: The architecture is one of those.
    """
    decoder = Decoder(model, pad_id=0)
    ids = [(1, 2, 3, 4, 5)]
    try:
        expected = model(torch.tensor(ids, device=decoder.device)).logits[0, -1].float()
        [start] = decoder.compute_prefixes([ids[0][:3]])
        prefix = PrefixStates.of([start.states])
        found = decoder.logits(decoder.run_after(prefix, decoder.embed_rows([ids[0][3:]], None)))[0, -1]
        tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
        fits = bool((found - expected).abs().max() <= tolerance * expected.abs().max())
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{_NO_BACKBONE.format(kind=model.config.model_type)} ({error})") from error
    if not fits:
        raise InputError(_NO_BACKBONE.format(kind=model.config.model_type))


def _explain(folder: Path, code: CodeSource, error: Exception) -> InputError:
    if "trust_remote_code" in str(error) and not code.trusted:
        return InputError(
            f"The model in '{folder}' needs code of its own to run, which is refused unless you name it.",
            hint=code.remedy,
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return InputError(f"The folder '{folder}' holds no model that can be loaded: {reason}")
