"""Backbones transformers can load itself: from a folder or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoModelForCausalLM, AutoTokenizer

from msakit.core.errors import InputError, MsakitError
from msakit.plugins.backbones.codecs import HubCodec
from msakit.plugins.backbones.devices import choose_device, dtype_of, quantization_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from msakit.plugins.backbones.config import CausalLMConfig


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
        return AutoModelForCausalLM.from_pretrained(  # type: ignore[no-any-return]
            location,
            dtype=dtype,
            attn_implementation="sdpa",
            revision=revision,
            trust_remote_code=str(location) in config.trust_remote_code,
            **options,
        )
    except (OSError, ValueError) as error:
        raise explain_failure(location, error) from error


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
