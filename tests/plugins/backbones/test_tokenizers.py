from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch

from msakit.core.errors import InputError, MissingExtraError
from msakit.core.pipeline.answers import AnswerTrie
from msakit.core.pipeline.prompt import PromptBuilder, PromptTemplate
from msakit.plugins.backbones.chatglm import ChatGLMCodec
from msakit.plugins.backbones.codecs import ByteCodec
from msakit.plugins.backbones.config import CausalLMConfig
from msakit.plugins.backbones.loading import describe, load
from msakit.plugins.backbones.qwen import QwenCodec

GOLDEN = Path(__file__).parents[2] / "golden"
MERGES = [b"th", b"the", b" the", b"\xe6\x83", b"\xe6\x83\x85", b"ca", b"caf"]


def write_qwen(folder: Path) -> None:
    """All single bytes, then a few merges; 263 ranks, so that special tokens begin at 263."""
    ranks = [bytes([byte]) for byte in range(256)] + MERGES
    lines = [base64.b64encode(token) + b" " + str(rank).encode() for rank, token in enumerate(ranks)]
    (folder / r"qwen\.tiktoken").write_bytes(b"\n".join(lines) + b"\n")


def write_chatglm(folder: Path) -> None:
    text = folder / "corpus.txt"
    lines = ["the sentiment is positive", "the emotion is joy", "情感为积极", "+1.2 -0.6 0.3"]
    text.write_text("\n".join(lines * 20), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), vocab_size=320, model_type="bpe",
        byte_fallback=True, character_coverage=1.0, hard_vocab_limit=False, minloglevel=2,
        remove_extra_whitespaces=False, split_digits=True,
    )  # fmt: skip


@pytest.fixture
def qwen(tmp_path):
    write_qwen(tmp_path)
    return QwenCodec(tmp_path)


@pytest.fixture(scope="module")
def chatglm_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chatglm")
    write_chatglm(folder)
    return folder


def test_qwen_merges_by_rank(qwen):
    assert qwen.encode("the") == [257]
    assert qwen.encode("in the") == [ord("i"), ord("n"), 258]
    assert qwen.encode("情") == [260]
    assert qwen.encode("") == []


def test_qwen_splits_every_digit(qwen):
    assert qwen.encode("+1.25") == [ord(letter) for letter in "+1.25"]


@pytest.mark.parametrize("text", ["The sentiment is +1.2!\n\n  ok", "情感为 消极", "it's  3.14", "\t\n"])
def test_tokenizers_round_trip(qwen, text):
    assert qwen.decode(qwen.encode(text)) == text
    assert ByteCodec().decode(ByteCodec().encode(text)) == text


def test_qwen_composes_accents_as_the_original_does(qwen):
    assert qwen.encode("cafe\u0301") == qwen.encode("caf\u00e9") == [262, 0xC3, 0xA9]


def test_qwens_special_tokens_follow_the_vocabulary(qwen):
    assert qwen.token_id("<|endoftext|>") == qwen.token_id("eos") == qwen.end_id == 263
    assert qwen.token_id("<|im_start|>") == 264
    assert qwen.token_id("<|im_end|>") == 265
    assert qwen.token_id("<|extra_204|>") == 263 + 3 + 204
    assert qwen.token_id("bos") is None
    assert 264 not in qwen.encode("<|im_start|>")
    assert qwen.decode([264, ord("a"), 263]) == "a"


def test_chatglms_special_tokens_follow_the_vocabulary(chatglm_folder):
    codec = ChatGLMCodec(chatglm_folder)
    model = sentencepiece.SentencePieceProcessor(model_file=str(chatglm_folder / "tokenizer.model"))
    size = model.vocab_size()
    names = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>"]
    assert [codec.token_id(name) for name in names] == list(range(size, size + 7))
    assert codec.end_id == codec.token_id("eos") == 2
    assert codec.token_id("nothing of the kind") is None
    assert codec.decode([size + 1, size + 3, *codec.encode("the emotion is joy"), 2]) == "the emotion is joy"


@pytest.mark.parametrize("text", ["the sentiment is +1.2", "情感为积极", "-0.6", "🙂 unseen"])
def test_chatglm_round_trips(chatglm_folder, text):
    codec = ChatGLMCodec(chatglm_folder)
    assert codec.decode(codec.encode(text)) == text
    assert codec.encode("[gMASK]") != [codec.token_id("[gMASK]")]


def test_chatglm_begins_every_piece_with_a_word_boundary(chatglm_folder):
    codec = ChatGLMCodec(chatglm_folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(chatglm_folder / "tokenizer.model"))
    assert pieces.id_to_piece(codec.encode("1"))[0].startswith("\u2581")


def test_folders_without_a_vocabulary_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"qwen\.tiktoken"):
        QwenCodec(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer\.model"):
        ChatGLMCodec(tmp_path)


@pytest.mark.parametrize(("codec", "module"), [(QwenCodec, "tiktoken"), (ChatGLMCodec, "sentencepiece")])
def test_a_missing_library_names_its_extra(monkeypatch, tmp_path, codec, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=module):
        codec(tmp_path)


@pytest.mark.parametrize("name", ["qwen1-tiny", "chatglm3-tiny"])
def test_an_original_checkpoint_answers_end_to_end(name, tmp_path):
    for file in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name / file, tmp_path)
    (write_qwen if name == "qwen1-tiny" else write_chatglm)(tmp_path)
    backbone = load(describe(str(tmp_path)), CausalLMConfig(device="cpu"))
    start = ["<|im_start|>"] if name == "qwen1-tiny" else ["[gMASK]", "sop"]
    assert backbone.start_ids() == [backbone.codec.token_id(token) for token in start]
    ids = PromptBuilder(PromptTemplate("The sentiment is"), backbone).build(["the joy", None])
    prompt = ids.with_pseudo(torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0)))
    trie = AnswerTrie.build([backbone.tokenize(text) for text in ("+1.2", "-0.6", "0.3")])
    scores = backbone.answer_scores(prompt, trie)
    for index, answer in enumerate(trie.answers):
        loss = backbone.answer_losses(prompt, [answer, answer]).mean()
        torch.testing.assert_close(-loss * 2 * len(answer), scores[:, index].sum(), atol=1e-4, rtol=0)

    saved = tmp_path / "converted"
    saved.mkdir()
    backbone.save_pretrained(saved)
    spec = describe(str(tmp_path))
    again = load(spec, CausalLMConfig(device="cpu", path=saved))
    torch.testing.assert_close(again.answer_scores(prompt, trie), scores, atol=1e-6, rtol=0)
