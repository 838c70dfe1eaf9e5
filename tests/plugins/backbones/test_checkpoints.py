from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from msakit.core.errors import InputError
from msakit.core.registry.specs import BackboneSpec
from msakit.plugins.backbones.chatglm import CHATGLM
from msakit.plugins.backbones.checkpoints import load_converted
from msakit.plugins.backbones.config import CausalLMConfig
from msakit.plugins.backbones.loading import describe, meta
from msakit.plugins.backbones.qwen import QWEN

GOLDEN = Path(__file__).parents[2] / "golden"
LAYOUTS = {"qwen1-tiny": QWEN, "chatglm3-tiny": CHATGLM}
CPU = CausalLMConfig(device="cpu")


@pytest.fixture(params=sorted(LAYOUTS))
def name(request):
    return request.param


@pytest.fixture
def folder(name, tmp_path):
    """A copy of a golden checkpoint that may be changed."""
    for file in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name / file, tmp_path)
    return tmp_path


def logits(model, name):
    with np.load(GOLDEN / name / "expected.npz") as golden, torch.no_grad():
        found = model(torch.from_numpy(golden["input_ids"])).logits
        return found, torch.from_numpy(golden["logits"])


def test_logits_are_the_original_codes(name):
    model = load_converted(GOLDEN / name, LAYOUTS[name], CPU)
    found, expected = logits(model, name)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_bin_shards_are_read_without_running_them(name, folder):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    for index, part in enumerate((names[::2], names[1::2]), start=1):
        torch.save({key: tensors[key] for key in part}, folder / f"pytorch_model-{index:05}-of-00002.bin")
    (folder / "model.safetensors").unlink()
    found, expected = logits(load_converted(folder, LAYOUTS[name], CPU), name)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint ran",))


def test_a_hostile_pickle_is_refused(name, folder):
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin' is refused: it holds more than tensors"):
        load_converted(folder, LAYOUTS[name], CPU)


def test_dtype_is_converted_on_the_way(name):
    model = load_converted(GOLDEN / name, LAYOUTS[name], CausalLMConfig(device="cpu", dtype="bfloat16"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    found, expected = logits(model, name)
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0)


def test_incomplete_and_foreign_tensors_are_named(name, folder):
    tensors = load_file(folder / "model.safetensors")
    dropped = next(key for key in sorted(tensors) if key.endswith("ln_2.weight") or "post_attention" in key)
    save_file({key: value for key, value in tensors.items() if key != dropped}, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks 1 tensors, model\.layers\.0\.post_attention"):
        load_converted(folder, LAYOUTS[name], CPU)
    save_file({**tensors, "transformer.adapter.weight": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"transformer\.adapter"):
        load_converted(folder, LAYOUTS[name], CPU)


def test_a_config_that_does_not_fit_is_refused(name, folder):
    config = json.loads((folder / "config.json").read_text())
    layers = "num_hidden_layers" if name == "qwen1-tiny" else "num_layers"
    (folder / "config.json").write_text(json.dumps({**config, layers: 2}))
    with pytest.raises(InputError, match=r"layers\.2"):
        load_converted(folder, LAYOUTS[name], CPU)
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(InputError, match="does not fit"):
        load_converted(folder, LAYOUTS[name], CPU)
    variant = {"no_bias": False} if name == "qwen1-tiny" else {"quantization_bit": 4}
    (folder / "config.json").write_text(json.dumps({**config, **variant}))
    with pytest.raises(InputError, match=next(iter(variant))):
        load_converted(folder, LAYOUTS[name], CPU)


def test_a_folder_without_weights_is_refused(name, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no weights"):
        load_converted(folder, LAYOUTS[name], CPU)


def test_quantization_while_converting_is_refused(name):
    with pytest.raises(InputError, match="while a checkpoint is converted"):
        load_converted(GOLDEN / name, LAYOUTS[name], CausalLMConfig(device="cpu", quantization="8bit"))


def test_a_folder_in_an_original_layout_describes_itself(name):
    spec = describe(str(GOLDEN / name))
    assert isinstance(spec, BackboneSpec)
    assert spec.weights["format"] == LAYOUTS[name].name
    model = load_converted(GOLDEN / name, LAYOUTS[name], CPU)
    assert meta(spec, CPU).num_parameters == sum(parameter.numel() for parameter in model.parameters())


def test_one_tensor_at_a_time_is_held_twice(name):
    """The model's memory is its own: nothing keeps the checkpoint's tensors alive."""
    model = load_converted(GOLDEN / name, LAYOUTS[name], CPU)
    for parameter in model.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()
