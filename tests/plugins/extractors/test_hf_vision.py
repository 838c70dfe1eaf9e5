"""hf-vision against transformers alone, on small random models, and faces of the example clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

pytest.importorskip("av")
pytest.importorskip("mediapipe")
from msakit.core.errors import InputError
from msakit.core.interfaces import MediaClip
from msakit.extraction.media import NoFaceError, decode_frames
from msakit.plugins.extractors import hf_vision
from msakit.plugins.extractors.config import HfVisionConfig
from msakit.plugins.extractors.faces import FaceLandmarker, square_crop
from msakit.plugins.extractors.hf_vision import HfVisionExtractor

CLIP = MediaClip(Path(__file__).parents[3] / "examples/clips/movie07075.mp4", "clip", end_s=1.0)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SEEN = {**SIZES, "image_size": 32, "patch_size": 8}
TEXT = {**SIZES, "vocab_size": 64}
SQUARE = {"size": {"height": 32, "width": 32}}
CUT = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


def save(folder: Path, model, processor) -> str:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    torch.manual_seed(0)
    parent = tmp_path_factory.mktemp("models")
    both = {"vision_config": SEEN, "text_config": TEXT}
    models = {
        "clip": (CLIPModel(CLIPConfig(**both, projection_dim=8)), CLIPImageProcessorPil(**CUT)),
        "siglip": (SiglipModel(SiglipConfig(**both)), SiglipImageProcessorPil(**SQUARE)),
        "dinov2": (Dinov2Model(Dinov2Config(**SEEN)), BitImageProcessorPil(**CUT)),
        "vit": (ViTForImageClassification(ViTConfig(**SEEN)), ViTImageProcessorPil(**SQUARE)),
    }
    return {name: save(parent / name, *parts) for name, parts in models.items()}


def make(**settings) -> HfVisionExtractor:
    return HfVisionExtractor(**dict(HfVisionConfig(**settings)))


def by_hand(folder: str, images) -> tuple[np.ndarray, np.ndarray | None]:
    """Token states [T, N, D] and pooler outputs [T, D] of images, from transformers alone, one by one."""
    from transformers import AutoImageProcessor, AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    model = getattr(model, "vision_model", model)
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        outputs = [model(processor(image, return_tensors="pt").pixel_values) for image in images]
    pooled = [output.pooler_output for output in outputs]
    return (
        torch.cat([output.last_hidden_state for output in outputs]).numpy(),
        None if pooled[0] is None else torch.cat(pooled).numpy(),
    )


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2", "vit"])
def test_vectors_are_the_models_own(name, folders):
    images = list(decode_frames(CLIP, 5))
    states, pooled = by_hand(folders[name], images)
    expected = {"cls": states[:, 0], "mean": states.mean(1), "pooler": pooled}
    for pooling in ("cls", "mean", *(("pooler",) if name != "vit" else ())):
        extractor = make(model=folders[name], region="frame", pooling=pooling)
        features = extractor.extract(CLIP)
        assert features.values.shape == (5, 16) == (len(images), extractor.width)
        assert features.frame_shift_s == pytest.approx(0.2)
        np.testing.assert_allclose(features.values, expected[pooling], atol=1e-5)


def test_frames_at_once_give_what_each_gives_alone(folders):
    extractor = make(model=folders["clip"], region="frame", fps=10)
    alone = extractor.extract(CLIP).values
    extractor._batch_size = 4
    np.testing.assert_allclose(extractor.extract(CLIP).values, alone, atol=1e-5)


def test_the_face_is_cut_out(folders):
    images = list(decode_frames(CLIP, 5))
    with FaceLandmarker("a test", 0.5).tracking(5) as tracker:
        crops = [square_crop(image, tracker.find(image), 0.3) for image in images]
    height, width, _ = images[0].shape
    assert all(crop.shape[0] == crop.shape[1] < 2 * max(height, width) for crop in crops)
    states, _ = by_hand(folders["dinov2"], crops)
    extractor = make(model=folders["dinov2"])
    np.testing.assert_allclose(extractor.extract(CLIP).values, states[:, 0], atol=1e-5)
    assert len(extractor.weights()) == 2
    assert extractor.parameters()["libraries"].keys() == {"torch", "transformers", "mediapipe"}


def test_a_crop_beyond_the_edge_repeats_it():
    from types import SimpleNamespace

    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    points = [SimpleNamespace(x=0.0, y=0.0), SimpleNamespace(x=2 / 6, y=2 / 4)]
    crop = square_crop(image, SimpleNamespace(face_landmarks=[points]), 0.5)
    assert crop.shape == (4, 4, 3)
    assert np.array_equal(crop[1:, 1:], image[:3, :3])
    assert np.array_equal(crop[0], crop[1])
    assert np.array_equal(crop[:, 0], crop[:, 1])


def test_frames_without_a_face_repeat_the_last(folders, monkeypatch):
    face = next(decode_frames(CLIP, 5))
    grey = np.full_like(face, 128)
    images = [grey, grey, face, grey]
    monkeypatch.setattr(hf_vision, "decode_frames", lambda clip, fps: iter(images))
    values = make(model=folders["clip"]).extract(CLIP).values
    assert values.shape == (4, 16)
    assert all(np.array_equal(row, values[2]) for row in values)
    images[2] = grey
    with pytest.raises(NoFaceError, match=r"a face in 0 % of 4 frames"):
        make(model=folders["clip"]).extract(CLIP)


def test_the_same_clip_gives_the_same_bits(folders):
    extractor = make(model=folders["siglip"], region="frame")
    first = extractor.extract(CLIP).values
    extractor.extract(MediaClip(CLIP.path.with_name("movie05708.mp4"), "other", end_s=1.0))
    assert np.array_equal(extractor.extract(CLIP).values, first)
    assert extractor.parameters().keys() - {"libraries"} == HfVisionConfig.model_fields.keys()
    assert len(extractor.weights()) == 1


def test_what_cannot_be_used_is_explained(folders, tmp_path):
    with pytest.raises(InputError, match=r"lacks 2 of the model's weights, pooler\.dense"):
        make(model=folders["vit"], pooling="pooler")
    words = save(tmp_path / "bert", BertModel(BertConfig(**TEXT)), ViTImageProcessorPil(**SQUARE))
    with pytest.raises(InputError, match=r"\(bert\) is no model of images"):
        make(model=words)
