"""Backbones transformers can load itself: from a folder or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from msakit.core.errors import InputError, MsakitError
from msakit.plugins.backbones.codecs import HubCodec
from msakit.plugins.backbones.decoding import Decoder
from msakit.plugins.backbones.devices import choose_device, dtype_of, quantization_settings
from msakit.plugins.backbones.prefix import PrefixStates

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from msakit.plugins.backbones.config import CausalLMConfig

_NO_BACKBONE = "Models of type '{kind}' cannot be run in parts as a backbone needs."


def load_codec(location: str | Path, config: CausalLMConfig, revision: str | None = None) -> HubCodec:
    """The tokenizer of a folder or a hub repository; raises what `load_model` raises."""
    trusted = str(location) in config.trust_remote_code
    try:
        return HubCodec(AutoTokenizer.from_pretrained(location, revision=revision, trust_remote_code=trusted))
    except (OSError, ValueError) as error:
        raise explain_failure(location, error) from error


def load_model(location: str | Path, config: CausalLMConfig, revision: str | None = None) -> PreTrainedModel:
    """The model of a folder or a hub repository.

    Raises:
        InputError: The folder holds no model, or the repository needs its own code to run.
        MsakitError: The hub could not be reached and holds nothing local.
    """
    device, dtype = choose_device(config.device), dtype_of(config.dtype)
    options = quantization_settings(config.quantization, dtype, device)
    if device.type != "cpu":
        options["device_map"] = {"": device}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=dtype,
            attn_implementation="sdpa",
            revision=revision,
            trust_remote_code=str(location) in config.trust_remote_code,
            **options,
        )
    except (OSError, ValueError) as error:
        raise explain_failure(location, error) from error
    if config.quantization == "none":
        check_split_run(model)
    return model  # type: ignore[no-any-return]


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
        states = decoder.compute_prefixes([ids[0][:3]])
        prefix = PrefixStates(states[0][:, :, None].unbind(0), torch.tensor([3], device=decoder.device))
        found = decoder.logits(decoder.run_after(prefix, decoder.embed_rows([ids[0][3:]], None)))[0, -1]
        tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
        fits = bool((found - expected).abs().max() <= tolerance * expected.abs().max())
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{_NO_BACKBONE.format(kind=model.config.model_type)} ({error})") from error
    if not fits:
        raise InputError(_NO_BACKBONE.format(kind=model.config.model_type))


def explain_failure(location: str | Path, error: Exception) -> MsakitError:
    """What to tell a user whose weights could not be loaded."""
    if "trust_remote_code" in str(error):
        return InputError(
            f"'{location}' needs code of its own to run, which is refused unless it is named.",
            hint=f"If you trust it: trust_remote_code: ['{location}'].",
        )
    if Path(location).is_dir():
        return InputError(f"The folder '{location}' holds no model that can be loaded: {_first_line(error)}")
    return MsakitError(
        f"The weights of '{location}' are not here and could not be fetched: {_first_line(error)}",
        hint="Check the name and the network; log in with `hf auth login` for a gated repository. Or copy "
        "the repository's files here by other means and name their folder as the backbone's `path`.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
