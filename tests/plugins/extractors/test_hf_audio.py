"""hf-audio against transformers alone, on small random models."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperModel,
)

pytest.importorskip("av")
from plugins.extractors.sounds import write_tone

from msakit.core.errors import InputError, MsakitError
from msakit.core.interfaces import MediaClip
from msakit.plugins.extractors.config import HfAudioConfig
from msakit.plugins.extractors.hf_audio import HfAudioExtractor

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
MODELS = {
    "wav2vec2": (Wav2Vec2Model, Wav2Vec2Config),
    "hubert": (HubertModel, HubertConfig),
    "wavlm": (WavLMModel, WavLMConfig),
}


def save(model, folder) -> str:
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    torch.manual_seed(0)
    parent = tmp_path_factory.mktemp("models")
    return {name: save(kind(config(**SIZES)), parent / name) for name, (kind, config) in MODELS.items()}


def make(**settings) -> HfAudioExtractor:
    return HfAudioExtractor(**dict(HfAudioConfig(**settings)))


def by_hand(kind, folder: str, samples: np.ndarray) -> np.ndarray:
    """Hidden states [layers, T, D] of one window, from transformers alone."""
    normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.inference_mode():
        model = kind.from_pretrained(folder).eval()
        found = model(torch.from_numpy(normal)[None], output_hidden_states=True).hidden_states
    return torch.stack(found)[:, 0].numpy()


@pytest.mark.parametrize("name", MODELS)
def test_states_are_the_models_own(name, folders, tmp_path):
    clip = write_tone(tmp_path / "tone.wav", seconds=1.3)
    extractor = make(model=folders[name])
    expected = by_hand(MODELS[name][0], folders[name], extractor.read(clip))
    assert expected.shape[1] == 64
    assert extractor.frame_shift_s == 0.02
    for layer, states in ((-1, expected[-1]), (1, expected[1]), ("mean", expected.mean(0))):
        values = make(model=folders[name], layer=layer).extract(clip).values
        np.testing.assert_allclose(values, states, atol=1e-5)
    rows = make(model=folders[name], frame_shift_s=0.1).extract(clip).values
    np.testing.assert_allclose(rows[1], expected[-1, 5:10].mean(0), atol=1e-5)
    assert len(rows) == 13


def test_windows_stay_on_one_clock(folders, tmp_path):
    clip = write_tone(tmp_path / "long.wav", seconds=61)
    values = make(model=folders["hubert"]).extract(clip).values
    assert len(values) == 61 * 50 - 1
    second = make(model=folders["hubert"]).extract(MediaClip(clip.path, "x", start_s=30, end_s=60.005))
    np.testing.assert_allclose(values[1500:3000], second.values, atol=1e-4)


def test_several_clips_at_once_give_what_each_gives_alone(folders, tmp_path):
    extractor = make(model=folders["wav2vec2"])
    clips = [write_tone(tmp_path / f"{n}.wav", seconds=n % 3 + 1, hertz=80 * n) for n in (1, 2, 3, 4, 5)]
    alone = [extractor.extract(clip).values for clip in clips]
    extractor.batch_size = 2
    together = extractor.encode([extractor.read(clip) for clip in clips])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other.values, atol=1e-5)


def test_a_moment_of_sound_is_one_row(folders, tmp_path):
    clip = write_tone(tmp_path / "short.wav", seconds=0.01)
    assert make(model=folders["hubert"]).extract(clip).values.shape == (1, 16)


def test_identity_holds_settings_libraries_and_weights(folders):
    extractor = make(model=folders["hubert"], layer="mean")
    assert extractor.parameters().keys() - {"libraries"} == HfAudioConfig.model_fields.keys()
    assert [len(digest) for digest in extractor.weights()] == [64]
    assert extractor.width == 16


def test_a_recogniser_is_used_for_its_encoder(tmp_path):
    folder = save(Wav2Vec2ForCTC(Wav2Vec2Config(**SIZES, vocab_size=32)), tmp_path / "ctc")
    clip = write_tone(tmp_path / "tone.wav", seconds=0.5)
    values = make(model=folder).extract(clip).values
    np.testing.assert_allclose(
        values, by_hand(Wav2Vec2Model, folder, make(model=folder).read(clip))[-1], atol=1e-5
    )


def test_what_cannot_be_used_is_explained(folders, tmp_path, monkeypatch):
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    whisper = WhisperModel(WhisperConfig(d_model=16, encoder_layers=1, decoder_layers=1, **heads))
    whisper.save_pretrained(tmp_path / "whisper")
    with pytest.raises(InputError, match=r"is no audio encoder.*\n.*extractor whisper"):
        make(model=str(tmp_path / "whisper"))
    with pytest.raises(InputError, match=r"is not a multiple of 0\.02"):
        make(model=folders["hubert"], frame_shift_s=0.05)
    torn = HubertModel(HubertConfig(**SIZES))
    del torn.encoder.layers[2]
    torn.config.num_hidden_layers = 3
    with pytest.raises(InputError, match=r"lacks \d+ of the model's weights, encoder\.layers\.2"):
        make(model=save(torn, tmp_path / "torn"))
    monkeypatch.setattr("msakit.core.hub.snapshot_download", Mock(side_effect=OSError("no route")))
    with pytest.raises(MsakitError, match="'facebook/hubert-base-ls960' is not on this computer"):
        make(model="facebook/hubert-base-ls960")
