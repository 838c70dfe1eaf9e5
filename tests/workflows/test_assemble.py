"""Pipelines assembled from names, overrides and a store."""

from __future__ import annotations

import pytest

from msakit.core.errors import ConfigError, InputError, UnknownNameError
from msakit.core.pipeline.parameters import measure_pipeline
from msakit.workflows.assemble import assemble_content, assemble_pipeline, stored_widths
from tests.conftest import WIDTHS
from tests.samples.test_stored_dataset import write_dataset


def test_what_is_not_named_gets_a_default(registry):
    resolved = assemble_pipeline(registry, {})
    chosen = [*resolved.encoders.values(), resolved.fuser, resolved.injector]
    assert [choice.spec.short for choice in chosen] == ["lstm", "lstm", "tgm", "pseudo"]
    assert resolved.injector.settings.model_dump()["tokens"] == 6


@pytest.mark.parametrize(
    ("fuser", "encoders", "expected"),
    [
        ("tgm", [], {"audio": "lstm", "vision": "lstm"}),
        ("cmpta", [], {"audio": "bilstm", "vision": "bilstm"}),
        ("prompt4", [], {}),
        ("tgm", ["av"], {"audio": "av", "vision": "av"}),
        ("tgm", ["av", "audio=bilstm"], {"audio": "bilstm", "vision": "av"}),
        ("tgm", ["vision=bilstm"], {"vision": "bilstm"}),
    ],
)
def test_encoders_fit_the_fuser_unless_they_are_named(registry, fuser, encoders, expected):
    resolved = assemble_pipeline(registry, {"fuser": fuser, "backbone": "tiny"}, encoders=encoders)
    assert {name: choice.spec.short for name, choice in resolved.encoders.items()} == expected


def test_an_encoder_for_a_modality_that_is_not_there_is_refused(registry):
    with pytest.raises(ConfigError, match=r"touch: .*audio, vision"):
        assemble_pipeline(registry, {}, encoders=["touch=lstm"])


def test_overrides_win_over_names_and_recipe(registry):
    overrides = [("training.epochs", 3), ("backbone", "tiny")]
    resolved = assemble_pipeline(registry, {"dataset": "meld"}, recipe="cmpta", overrides=overrides)
    assert resolved.fuser.spec.short == "cmpta"
    assert (resolved.config.training.epochs, resolved.backbone_spec.name) == (3, "tiny")


def test_a_recipe_alone_means_a_dataset_it_is_published_on(registry):
    assert assemble_pipeline(registry, {}, recipe="mse-adapter").dataset.name == "mosei"
    assert assemble_pipeline(registry, {}, recipe="cmpta").dataset.name in {"meld", "simsv2"}


def test_a_dataset_of_the_store_needs_no_registry_entry(registry, tmp_path):
    place = write_dataset(tmp_path / "feats", "mine", [{"label": 0.5}, {"label": -2.0}])
    resolved = assemble_pipeline(registry, {"dataset": "mine", "backbone": "tiny"}, store=place)
    assert (resolved.dataset.metrics, resolved.dataset.label_range) == ("mosei", (-3.0, 3.0))
    assert list(resolved.encoders) == ["audio"]
    assert stored_widths(resolved, place) == {"audio": 7}


def test_an_unknown_dataset_without_a_store_names_the_remedy(registry):
    with pytest.raises(UnknownNameError) as raised:
        assemble_pipeline(registry, {"dataset": "mine"})
    assert "--store STORE" in str(raised.value)
    assert "registry.yaml" in str(raised.value)


def test_stored_widths_win_over_declared_ones(registry, store):
    resolved = assemble_pipeline(registry, {"dataset": "demo", "backbone": "tiny"}, store=store)
    assert resolved.dataset.features != WIDTHS
    assert stored_widths(resolved, store) == WIDTHS
    sizes = measure_pipeline(resolved, registry, WIDTHS)
    audio = next(part for part in sizes.parts if part.part == "encoders.audio")
    # One LSTM layer of 64 units (four gates, two biases) over 6 columns, then Linear to 64.
    settings = resolved.encoders["audio"].settings.model_dump()
    hidden, out = settings["hidden_size"], settings["output_size"]
    assert audio.trainable == 4 * hidden * (6 + hidden + 2) + out * (hidden + 1)
    assert sizes.trainable == sum(part.trainable for part in sizes.parts)


def test_names_change_the_parts_of_a_file(registry):
    base = {"dataset": "mosei", "fuser": "tgm", "injector": "pseudo6", "backbone": "tiny", "encoders": {}}
    content = assemble_content(registry, {"fuser": "cmpta"}, base=base, encoders=["audio=bilstm"])
    assert (content["fuser"], content["injector"]) == ("cmpta", "pseudo6")
    assert content["encoders"] == {"audio": "bilstm"}
    with pytest.raises(InputError, match="file and a recipe"):
        assemble_content(registry, {}, base=base, recipe="cmpta")


def test_the_only_dataset_of_a_store_is_meant(registry, tmp_path, store):
    place = write_dataset(tmp_path / "feats", "mine", [{"label": 0.5}])
    assert assemble_content(registry, {}, store=place)["dataset"]["name"] == "mine"
    assert assemble_content(registry, {}, store=store)["dataset"] == "mosei"  # it has two: the default
