"""The demo corpus: its plan, and that what is shipped is what the plan says."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from msakit.feature_store import FeatureStore

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
plans = importlib.import_module("examples.demo_corpus.plan")  # not a package that is installed

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def sentences():
    rng = np.random.default_rng(5)
    ratings = rng.uniform(1, 4, 1600) * rng.choice([-1, 1], 1600)
    return [plans.Sentence(k, f"sentence {k}", float(r)) for k, r in enumerate(ratings)]


@pytest.fixture(scope="module")
def plan(sentences):
    return plans.plan_first(sentences, seed=3)


@pytest.fixture(scope="module")
def corpus(sentences):
    return plans.plan_corpus(sentences, seed=3)


@pytest.fixture(scope="module")
def store() -> FeatureStore:
    return FeatureStore.open(ROOT / "msakit/data/demo.h5")


def test_the_plan_says_every_sentence_once(plan):
    assert len({clip.text for clip in plan}) == len(plan) == 1600
    sizes = Counter(clip.split for clip in plan)
    assert sizes["valid"] == pytest.approx(220, abs=1)
    assert sizes["test"] == pytest.approx(260, abs=1)


def test_every_cell_has_its_share_in_every_split(plan):
    for split in SPLITS:
        clips = [clip for clip in plan if clip.split == split]
        shares = {marker: n / len(clips) for marker, n in Counter(clip.marker for clip in clips).items()}
        assert shares == pytest.approx({"none": 0.6, "both": 0.16, "voice": 0.12, "face": 0.12}, abs=0.012)
        for polarity in (-1, 1):
            group = [clip for clip in clips if np.sign(clip.rating) == polarity]
            sincere = np.mean([clip.delivery == "sincere" for clip in group])
            assert sincere == pytest.approx(0.6, abs=0.01)


def test_a_beginning_of_the_plan_is_like_the_whole(plan):
    for size in (400, 1000):
        part = plan[:size]
        assert np.mean([clip.split == "train" for clip in part]) == pytest.approx(0.7, abs=0.05)
        assert np.mean([clip.delivery == "ironic" for clip in part]) == pytest.approx(0.4, abs=0.06)


def test_the_label_follows_from_rating_and_delivery(plan):
    for clip in plan:
        sign = -1 if clip.delivery == "ironic" else 1
        assert clip.label == pytest.approx(sign * 0.75 * clip.rating, abs=1e-3)
        assert (clip.voice_strength > 0) == (clip.marker in ("voice", "both"))
        assert (clip.face_strength > 0) == (clip.marker in ("face", "both"))


def test_half_of_the_ironic_sentences_are_meant_by_somebody_else(plan, corpus):
    assert corpus[: len(plan)] == plan
    ironic = [clip for clip in plan if clip.delivery == "ironic"]
    again = corpus[len(plan) :]
    assert len({clip.clip_id for clip in corpus}) == len(corpus)
    for first, second in zip(ironic[: len(ironic) // 2], again, strict=True):
        assert (second.text, second.split, second.rating) == (first.text, first.split, first.rating)
        assert second.speaker != first.speaker
        assert second.speaker.startswith(first.split)
        assert second.label == pytest.approx(-first.label, abs=1e-3)
        assert (second.delivery, second.voice_strength, second.face_strength) == ("sincere", 0.0, 0.0)


def test_a_smaller_corpus_is_cut_before_sentences_are_repeated(sentences):
    small = plans.plan_corpus(sentences, 3, limit=400)
    assert len({clip.text for clip in small}) == 400


def test_the_seed_decides_the_plan():
    sentences = [plans.Sentence(k, f"sentence {k}", 2.0 if k % 2 else -2.0) for k in range(900)]
    assert plans.plan_corpus(sentences, seed=1) == plans.plan_corpus(sentences, seed=1)
    assert plans.plan_corpus(sentences, seed=1) != plans.plan_corpus(sentences, seed=2)


def test_the_shipped_splits_share_neither_sentence_nor_speaker(store):
    table = store.table("demo")
    assert table.splits() == {"train": 1339, "valid": 245, "test": 288}
    for column in (table.text, table.speaker):
        values = [{column[row] for row in table.rows(split)} for split in SPLITS]
        assert len(set.union(*values)) == sum(map(len, values))


def test_the_shipped_labels_follow_from_the_shipped_construction(store):
    table = store.table("demo")
    sign = np.where(np.array(table.extra["delivery"]) == "ironic", -1, 1)
    np.testing.assert_allclose(table.label, sign * 0.75 * np.asarray(table.extra["rating"]), atol=1e-3)
    assert np.abs(table.label).min() >= 0.75
    assert np.abs(table.label).max() <= 3
    for split in SPLITS:
        rows = table.rows(split)
        assert np.mean(sign[rows] < 0) == pytest.approx(1 / 3, abs=0.03)
        assert np.mean(table.label[rows] > 0) == pytest.approx(0.5, abs=0.05)


def test_every_shipped_clip_has_finite_features_of_both_modalities(store):
    table = store.table("demo")
    for modality, width in (("audio", 40), ("vision", 59)):
        reader = store.reader(table, modality)
        assert reader.width == width
        assert reader.present.all()
        assert reader.lengths.min() >= 10
        assert not reader.count_nonfinite().any()
    assert (ROOT / "msakit/data/demo.h5").stat().st_size < 20_000_000


def test_the_shipped_features_are_what_the_extractors_give_for_the_clips(store):
    """The six clips in examples/ are clips of the corpus."""
    pytest.importorskip("av")
    pytest.importorskip("librosa")
    from msakit.core.registry.registry import load_registry
    from msakit.extraction.extract import extractor_choice
    from msakit.extraction.extractors import make_extractor
    from msakit.extraction.manifest import read_manifest

    table = store.table("demo")
    reader = store.reader(table, "audio")
    feature_set = store.feature_set(table.features["audio"].fingerprint)
    name, settings = extractor_choice(feature_set.extractor, feature_set.parameters)
    extractor = make_extractor(load_registry(discover=False), name, settings)
    for row in read_manifest(ROOT / "examples/clips/manifest.csv"):
        number = table.id.index(row.clip.clip_id)
        assert (table.label[number], table.text[number]) == (row.label, row.clip.text)
        # Half precision in the store; libraries differ in the last bits between versions.
        np.testing.assert_allclose(
            reader.read_one(number), extractor.extract(row.clip).values, rtol=2e-2, atol=2e-2
        )
